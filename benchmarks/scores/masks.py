"""J and F of predicted masks per frame, and their averages as publications take them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.core.errors import InputError
from recon4d.evaluate.masks import contour_f, jaccard, statistics
from recon4d.io.pictures.files import list_images
from recon4d.masks.train.datasets import LabelledVideo, read_foreground

Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class VideoScore:
    """The annotated frames of a sequence."""

    frames: tuple[str, ...]
    """Names of the frames, without suffix."""
    jaccard: tuple[float, ...]
    contour: tuple[float, ...]
    missing: tuple[str, ...] = ()
    """Frames without a predicted mask: J and F are 0."""

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> "VideoScore":
        """Take it out of a stored row."""
        names = [field.name for field in dataclasses.fields(VideoScore)]
        return VideoScore(*(tuple(row[name]) for name in names))

    def inner(self) -> "VideoScore":
        """Leave out the first and the last frame, where there are more than two."""
        if len(self.frames) <= 2:
            return self
        return VideoScore(self.frames[1:-1], self.jaccard[1:-1], self.contour[1:-1])


@dataclass(frozen=True)
class Average:
    """J, its recall and F over a set of sequences."""

    sequences: int
    frames: int
    jaccard: float
    jaccard_recall: float
    """Share of the frames whose J is above 0.5."""
    contour: float
    contour_recall: float

    @property
    def both(self) -> float:
        """The mean of J and F, DAVIS's J&F."""
        return (self.jaccard + self.contour) / 2


def score_video(video: LabelledVideo, folder: Path) -> VideoScore:
    """Compare the masks of a folder with the truth; a frame without one has J = F = 0.

    Args:
        video: With its truth.
        folder: One image per frame with the frame's name, non-zero = moving, of any size.

    Raises:
        InputError: The folder is missing, or a file is no image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; a folder with the masks of {video.name} was needed")
    found = {path.stem: path for path in list_images(folder)}
    stems = [video.frames[index].stem for index in video.annotated]
    values = [
        compare(read_foreground(found[stem]), _truth(video, index)) if stem in found else (0.0, 0.0)
        for stem, index in zip(stems, video.annotated, strict=True)
    ]
    return VideoScore(
        frames=tuple(stems),
        jaccard=tuple(j for j, _ in values),
        contour=tuple(f for _, f in values),
        missing=tuple(stem for stem in stems if stem not in found),
    )


def failed(video: LabelledVideo) -> VideoScore:
    """The score of a sequence without a result: 0 in every annotated frame."""
    stems = tuple(video.frames[index].stem for index in video.annotated)
    return VideoScore(stems, (0.0,) * len(stems), (0.0,) * len(stems), stems)


def compare(prediction: Mask, truth: Mask) -> tuple[float, float]:
    """J and F of a frame, at the truth's size (nearest pixel)."""
    if prediction.shape != truth.shape:
        resized = cv2.resize(
            prediction.astype(np.uint8),
            truth.shape[::-1],
            interpolation=cv2.INTER_NEAREST_EXACT,  # INTER_NEAREST shifts by up to half a pixel
        )
        prediction = np.asarray(resized, np.bool_)
    return jaccard(prediction, truth), contour_f(prediction, truth)


def over_sequences(scores: Sequence[VideoScore]) -> Average:
    """Average over the frames of each sequence, then over the sequences."""
    regions = [statistics(np.array(score.jaccard)) for score in scores]
    contours = [statistics(np.array(score.contour)) for score in scores]
    return Average(
        sequences=len(scores),
        frames=sum(len(score.frames) for score in scores),
        jaccard=float(np.mean([s.mean for s in regions])),
        jaccard_recall=float(np.mean([s.recall for s in regions])),
        contour=float(np.mean([s.mean for s in contours])),
        contour_recall=float(np.mean([s.recall for s in contours])),
    )


def over_inner_frames(scores: Sequence[VideoScore]) -> Average:
    """Average as `over_sequences`, without the first and the last frame of each sequence."""
    return over_sequences([score.inner() for score in scores])


def over_frames(scores: Sequence[VideoScore]) -> Average:
    """Average over all frames of all sequences alike."""
    region = statistics(np.concatenate([score.jaccard for score in scores]))
    contour = statistics(np.concatenate([score.contour for score in scores]))
    return Average(
        sequences=len(scores),
        frames=sum(len(score.frames) for score in scores),
        jaccard=region.mean,
        jaccard_recall=region.recall,
        contour=contour.mean,
        contour_recall=contour.recall,
    )


def _truth(video: LabelledVideo, index: int) -> Mask:
    mask = video.mask(index)
    assert mask is not None, "only annotated frames are compared"
    return mask
