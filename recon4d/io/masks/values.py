"""What the values of the user's masks mean: decided once for a folder, from some of its masks.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Shaped

from recon4d.core.errors import InputError
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Notice
from recon4d.io.pictures.files import read_image

LOSSY_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".webp", ".jp2"))
LOSSY_THRESHOLD = 127
"""In lossy files the background is not exactly 0 around borders; there only the brighter half of the range counts."""
MOST_LABELS = 16
"""Levels of an image with labels of objects (DAVIS: up to 10); more, up to bright ones, are soft values."""
LOOKED_AT = 32
"""Masks that are looked at, spread evenly over the folder."""
LOOKED_AT_PX = 512
"""Pixels of their long side that are looked at, about."""
NEARLY_ALL = 0.85
"""Share of moving pixels in the mean over the frames above which the masks are taken to be inverted: people who fill a
third of the picture are much, and under a seventh of a picture no camera is found."""


@dataclass(frozen=True)
class MaskValues:
    """How the values of a folder's masks are read."""

    by_opacity: bool = False
    """The fourth channel is the mask."""
    is_soft: bool = False
    """Only the brighter half of the range counts; else everything but 0."""
    means_static: bool = False
    """What counts is static, not moving."""

    def read(self, path: Path) -> Bool[np.ndarray, "height width"]:
        """Read a mask; True = moving."""
        levels = _levels(read_image(path, cv2.IMREAD_UNCHANGED), self.by_opacity)
        counts = levels > self._threshold(path, levels)
        return np.asarray(counts != self.means_static)

    def _threshold(self, path: Path, levels: Shaped[np.ndarray, "height width"]) -> int:
        if not self.is_soft and path.suffix.lower() not in LOSSY_SUFFIXES:
            return 0
        return LOSSY_THRESHOLD * 257 + 128 if levels.dtype == np.uint16 else LOSSY_THRESHOLD


def survey_masks(
    folder: Path, masks: Sequence[Path], *, means_static: bool
) -> tuple[MaskValues, tuple[Notice, ...]]:
    """Find out how the masks of a folder are to be read.

    Args:
        folder: Named in messages.
        masks: All masks there, at least one.
        means_static: What `--masks-mean` says.

    Returns:
        How, and what of it the user should know.

    Raises:
        InputError: Nearly everything would be moving.
    """
    paths = [masks[index] for index in spread_evenly(len(masks), LOOKED_AT)]
    stored = [_thinned(read_image(path, cv2.IMREAD_UNCHANGED)) for path in paths]
    by_opacity = _opacity_varies(stored)
    lossless = [
        _levels(pixels, by_opacity)
        for path, pixels in zip(paths, stored, strict=True)
        if path.suffix.lower() not in LOSSY_SUFFIXES
    ]
    values = MaskValues(by_opacity, _are_soft(lossless), means_static)
    _refuse_nearly_all(folder, paths, values)
    return values, _notices(values)


def _thinned(stored: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Some of the pixels: of many large masks all would fill the memory."""
    step = max(1, max(stored.shape[:2]) // LOOKED_AT_PX)
    return stored[::step, ::step].copy()


def _levels(
    stored: Shaped[np.ndarray, "..."], by_opacity: bool
) -> Shaped[np.ndarray, "height width"]:
    if stored.ndim == 2:
        return stored
    if by_opacity and stored.shape[2] == 4:
        return stored[..., 3]
    return np.asarray(stored[..., :3].max(axis=-1))


def _opacity_varies(stored: Sequence[Shaped[np.ndarray, "..."]]) -> bool:
    """Whether the fourth channels say anything: a picture is cut out, or its colours are one."""
    with_opacity = [
        pixels[..., 3] for pixels in stored if pixels.ndim == 3 and pixels.shape[2] == 4
    ]
    if not with_opacity:
        return False
    half = np.iinfo(with_opacity[0].dtype).max // 2
    return any(bool((opacity > half).any()) for opacity in with_opacity) and any(
        bool((opacity <= half).any()) for opacity in with_opacity
    )


def _are_soft(levels: Sequence[Shaped[np.ndarray, "..."]]) -> bool:
    if not levels or levels[0].dtype not in (np.uint8, np.uint16):
        return False
    seen = np.unique(np.concatenate([np.unique(one) for one in levels]))
    return len(seen) > MOST_LABELS and int(seen.max()) > np.iinfo(levels[0].dtype).max // 2


def _refuse_nearly_all(folder: Path, paths: Sequence[Path], values: MaskValues) -> None:
    share = float(np.mean([values.read(path).mean() for path in paths]))
    if share <= NEARLY_ALL:
        return
    if values.means_static:
        way_out = "leave --masks-mean static out if non-zero means moving"
    else:
        way_out = (
            "if non-zero means static (0 = ignore, as in COLMAP's masks), add --masks-mean static"
        )
    raise InputError(
        f"--masks {folder}: {share:.0%} of the pixels would be moving; recon4d needs static pixels to find the camera, "
        f"at least {1 - NEARLY_ALL:.0%} of them: {way_out}"
    )


def _notices(values: MaskValues) -> tuple[Notice, ...]:
    what = "static" if values.means_static else "moving"
    out = []
    if values.by_opacity:
        message = f"The masks' opacity is used, not their colours: what is opaque is {what}."
        out.append(Notice("masks_by_opacity", message))
    if values.is_soft:
        message = f"The masks have soft values: from half of the range (128 of 255) on they count as {what}."
        out.append(Notice("masks_soft", message))
    return tuple(out)
