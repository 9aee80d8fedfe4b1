"""What all data sets have in common: videos whose frames are files, with masks of what moves in some frames."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import list_images, read_rgb
from recon4d.masks.train.datasets.labels import read_foreground

Mask = Bool[np.ndarray, "height width"]
Names = Sequence[str] | None
"""The videos that are wanted; None means those of the data set's own list."""


@dataclass(frozen=True)
class LabelledVideo:
    """A video on disk; images and masks are read when they are asked for."""

    name: str
    frames: tuple[Path, ...]
    """One image per frame, in their order."""
    truth: tuple[tuple[Path, ...], ...]
    """Per frame the files whose union is what moves; none where the frame has no annotation."""
    read_truth: Callable[[Path], Mask] = read_foreground
    """Reads one of these files; True = moves."""

    def __post_init__(self) -> None:
        assert len(self.frames) == len(self.truth), "truth has an entry per frame"

    @property
    def annotated(self) -> tuple[int, ...]:
        """Indices of the frames that have a mask."""
        return tuple(index for index, files in enumerate(self.truth) if files)

    def image(self, frame: int) -> UInt8[np.ndarray, "height width 3"]:
        """Read one frame as RGB."""
        return np.ascontiguousarray(read_rgb(self.frames[frame]))

    def images(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """Read the frames `start` to `stop - 1` as RGB."""
        images = [self.image(frame) for frame in range(start, stop)]
        for path, image in zip(self.frames[start:stop], images, strict=True):
            if image.shape != images[0].shape:
                raise InputError(
                    f"{path} has another size than {self.frames[start].name}; frames of a video must have one size: "
                    "restore the file"
                )
        return np.stack(images)

    def mask(self, frame: int) -> Mask | None:
        """Read what moves in a frame; None where the frame has no annotation."""
        masks = [self.read_truth(path) for path in self.truth[frame]]
        for path, mask in zip(self.truth[frame], masks, strict=True):
            if mask.shape != masks[0].shape:
                raise InputError(
                    f"{path} has another size than {self.truth[frame][0]}; the masks of a frame must have one size: "
                    "restore the file"
                )
        return np.logical_or.reduce(masks) if masks else None


@dataclass(frozen=True)
class Dataset:
    """Videos of a data set."""

    videos: tuple[LabelledVideo, ...]
    notes: tuple[str, ...] = ()
    """In what this is not the official set; belongs into every report."""


def existing(path: Path, layout: str) -> Path:
    """Return a path that exists, or raise an `InputError` that names it and says what the layout is."""
    if not path.exists():
        raise InputError(f"{path} is missing; {layout}")
    return path


def images_in(folder: Path, layout: str) -> tuple[Path, ...]:
    """List the images of a folder, at least one."""
    images = tuple(list_images(existing(folder, layout)))
    if not images:
        raise InputError(f"{folder} holds no images; {layout}")
    return images


def folders_in(folder: Path, layout: str) -> tuple[Path, ...]:
    """List the sub-folders of a folder in the order of their names, at least one."""
    folders = tuple(sorted(path for path in existing(folder, layout).iterdir() if path.is_dir()))
    if not folders:
        raise InputError(f"{folder} holds no folders; {layout}")
    return folders


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


def files_of(stem: str, *folders: dict[str, Path]) -> tuple[Path, ...]:
    """Return the files of a name in those of the folders that have one."""
    return tuple(files[stem] for files in folders if stem in files)
