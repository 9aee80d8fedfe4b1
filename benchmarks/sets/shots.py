"""Clips as people have them: video files, folders of pictures, DAVIS's layout; with true masks where there are any."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import list_images
from recon4d.masks.train.datasets import LabelledVideo, read_dataset
from recon4d.masks.train.datasets.davis import IMAGES

VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mts", ".3gp"))


@dataclass(frozen=True)
class Shot:
    """A clip, and what is known of it."""

    name: str
    """Unique among all that are found: the folder that was given, and its own name."""
    source: Path
    truth: LabelledVideo | None = None


def find_shots(folders: Sequence[Path]) -> tuple[Shot, ...]:
    """Every clip of some folders, in their order.

    Args:
        folders: Each in DAVIS's layout, with videos or folders of pictures in it, or a folder of pictures itself.

    Raises:
        InputError: A folder is missing or holds none, or two have one name.
    """
    found: dict[str, Shot] = {}
    for folder in folders:
        shots = list(_shots(folder))
        if not shots:
            raise InputError(
                f"{folder} has neither videos nor folders of pictures in it; give a folder that has, or one in DAVIS's "
                "layout"
            )
        for shot in shots:
            if shot.name in found:
                raise InputError(
                    f"{shot.source} and {found[shot.name].source} are both called {shot.name}; give them one by one"
                )
            found[shot.name] = shot
    return tuple(found.values())


def _shots(folder: Path) -> Iterator[Shot]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one with clips in it")
    called = folder.resolve().name
    if (folder / IMAGES).is_dir():
        names = sorted(path.name for path in (folder / IMAGES).iterdir() if path.is_dir())
        for video in read_dataset("davis16", folder, names).videos:
            yield Shot(f"{called}/{video.name}", video.frames[0].parent, video)
    elif list_images(folder):
        yield Shot(called, folder)
    else:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in VIDEO_SUFFIXES or (path.is_dir() and list_images(path)):
                yield Shot(f"{called}/{path.name}", path)
