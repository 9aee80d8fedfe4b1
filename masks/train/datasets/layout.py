"""What all readers have in common: what is said where a path is missing, and one way from names to videos."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import list_images
from recon4d.masks.train.datasets.video import Dataset, LabelledVideo, Names

Reader = Callable[[Path, Names], Dataset]
"""Finds the videos of a data set below its root, all of its own list or those that are named."""


class Listed(NamedTuple):
    """The videos of a data set's own list."""

    names: Sequence[str]
    notes: tuple[str, ...] = ()
    """In what it is not the official list."""


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk."""

    needs: str
    """What there must be and which folder to give: the end of every message."""

    def reader(
        self,
        video: Callable[[Path, str], LabelledVideo],
        listed: Callable[[Path], Listed] | None = None,
        place: str = ".",
        parts: Sequence[str] = (),
    ) -> Reader:
        """The reader of a data set; it raises an `InputError` that names the first path that is missing.

        Args:
            video: Finds a video below the root by its name.
            listed: The data set's own list; without, the folders in `place`.
            place: Folder below the root, for that.
            parts: Paths below the root that are looked for before anything else.
        """

        def in_place(root: Path) -> Listed:
            return Listed(self.folders(root / place))

        def read(root: Path, names: Names = None) -> Dataset:
            for part in parts:
                self.existing(root / part)
            found = (listed or in_place)(root) if names is None else Listed(names)
            videos = tuple(video(root, name) for name in dict.fromkeys(found.names))
            return Dataset(videos, found.notes)

        return read

    def existing(self, path: Path) -> Path:
        """Return a path that exists."""
        if not path.exists():
            raise InputError(f"{path} is missing; {self.needs}")
        return path

    def images(self, folder: Path) -> tuple[Path, ...]:
        """List the images of a folder, at least one."""
        images = tuple(list_images(self.existing(folder)))
        if not images:
            raise InputError(f"{folder} holds no images; {self.needs}")
        return images

    def folders(self, folder: Path) -> list[str]:
        """Names of the sub-folders of a folder in their order, at least one."""
        names = [path.name for path in sorted(self.existing(folder).iterdir()) if path.is_dir()]
        if not names:
            raise InputError(f"{folder} holds no folders; {self.needs}")
        return names

    def images_by_stem(self, folder: Path) -> dict[str, Path]:
        """The images of a folder, at least one, by their names without suffix."""
        return by_stem(self.images(folder))


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Find files by their names without suffix, which must differ."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise InputError(
                f"{path} and {found[path.stem].name} have one name; remove one of them"
            )
        found[path.stem] = path
    return found


def labelled(name: str, frames: tuple[Path, ...], masks: dict[str, Path]) -> LabelledVideo:
    """A video whose masks have the names of their frames; frames without a mask are not annotated."""
    return LabelledVideo(
        name, frames, tuple((masks[f.stem],) if f.stem in masks else () for f in frames)
    )
