"""The unit of 16-bit depth images, found from their values where nobody states it.

Numbers here that name no source were set by hand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt16

from recon4d.core.errors import InputError
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Notice
from recon4d.io.pictures.files import read_image

TUM_FACTOR = 5000.0
"""Value of one metre in depth images of the TUM RGB-D benchmark."""
MILLIMETRE_FACTOR = 1000.0
"""... and in those of nearly everybody else: phones, RealSense, Kinect's own tools, ScanNet."""
USUAL_M = (0.6, 1.8, 4.0)
"""Metres of the depth that 5, 50 and 95 % of a depth camera's values are nearer than: rooms and things held in front
of a phone."""
PERCENTILES = (5, 50, 95)
"""Of the values of depth images, which are compared with `USUAL_M`."""
DOUBTFUL_RATIO = 1.25
"""A factor that is found so near to the middle between both (in ratio) is said to be doubtful."""
LOOKED_AT = 16
"""Images whose values are looked at, spread evenly over the sequence."""
FIVES, TENS = 0.95, 0.75
"""Millimetres that were multiplied by 5 for the TUM layout: this part of the values are multiples of 5, and at most
this part of 10; depth that was rounded to centimetres has more of those."""


@dataclass(frozen=True)
class DepthUnit:
    """The value of a depth image for one metre."""

    factor: float
    notices: tuple[Notice, ...] = ()


def find_depth_unit(paths: Sequence[Path], stated: float | None) -> DepthUnit:
    """The unit of a sequence's depth images: what the user states, else what is plausible for all of them together."""
    if stated is not None:
        return DepthUnit(stated)
    looked_at = [paths[index] for index in spread_evenly(len(paths), LOOKED_AT)]
    values = np.concatenate([read_depth_values(path).ravel() for path in looked_at])
    return guess_depth_unit(values[values > 0])


def guess_depth_unit(values: UInt16[np.ndarray, " pixels"]) -> DepthUnit:
    """Millimetres or fifths of them, by the known values of a sequence.

    The factor under which near, middle and far values are those of `USUAL_M` (geometric mean) is compared with both.
    """
    if not values.size or _are_fives(values):
        return DepthUnit(TUM_FACTOR)
    seen = np.percentile(values, PERCENTILES)
    found = math.exp(np.log(seen / np.array(USUAL_M)).mean())
    between = math.sqrt(MILLIMETRE_FACTOR * TUM_FACTOR)
    factor = MILLIMETRE_FACTOR if found < between else TUM_FACTOR
    is_doubtful = 1 / DOUBTFUL_RATIO < found / between < DOUBTFUL_RATIO
    if factor == TUM_FACTOR and not is_doubtful:
        return DepthUnit(factor)
    low, middle, high = (value / factor for value in seen)
    message = (
        f"The depth images are taken for {factor:g} to the metre ({low:.2g} to {high:.2g} m, half of it nearer than "
        f"{middle:.2g} m){', which is doubtful' if is_doubtful else ''}: if that is wrong, give --depth-factor."
    )
    return DepthUnit(factor, (Notice("depth_unit", message),))


def read_depth_values(path: Path) -> UInt16[np.ndarray, "height width"]:
    """Read a depth image as it is stored; 0 = unknown."""
    stored = read_image(path, cv2.IMREAD_UNCHANGED)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        channels = 1 if stored.ndim == 2 else stored.shape[2]
        what, instead = "", "convert it"
        if stored.dtype == np.uint8:
            what = ": a picture of depth for the eye, which is not depth"
            instead = "give what it was drawn from (to --depth also as npy, npz or EXR)"
        raise InputError(
            f"{path} has {channels} channels of {stored.dtype}{what}; depth needs one channel of 16 bit, in "
            f"millimetres or in the unit that --depth-factor states: {instead}"
        )
    return stored


def _are_fives(values: UInt16[np.ndarray, " pixels"]) -> bool:
    return bool((values % 5 == 0).mean() > FIVES and (values % 10 == 0).mean() < TENS)
