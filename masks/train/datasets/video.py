"""What all data sets have in common: videos whose frames are files, with masks of what moves in some frames."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import read_rgb
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
class Part:
    """Consecutive frames of a labelled video."""

    dataset: str
    """Name of the data set that the video is from."""
    video: LabelledVideo
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Of a folder; no other part of this length has it."""
        return f"{self.dataset}-{self.video.name}-{self.start:05d}".replace("/", "-")

    @property
    def labelled(self) -> list[int]:
        """Frames with a label, counted from the first of the part."""
        return [k - self.start for k in self.video.annotated if self.start <= k < self.stop]

    def masks(self) -> Iterator[Mask]:
        """Read what moves in the labelled frames."""
        for frame in self.labelled:
            mask = self.video.mask(self.start + frame)
            assert mask is not None, "it is annotated"
            yield mask


@dataclass(frozen=True)
class Dataset:
    """Videos of a data set."""

    videos: tuple[LabelledVideo, ...]
    notes: tuple[str, ...] = ()
    """In what this is not the official set; belongs into every report."""
