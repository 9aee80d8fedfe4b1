"""Reading one file of depth as networks and depth cameras write them: npy, npz, EXR, 16-bit PNG.

Numbers here that name no source were set by hand.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float32, Shaped

from recon4d.core.errors import InputError
from recon4d.io.rgbd.unit import read_depth_values

SUFFIXES = (".npz", ".npy", ".exr", ".png")
"""Of the files that can be read; where a folder has several kinds, the first of these is taken."""
METRIC_NAMES = ("metric_depth", "depth_metric")
DEPTH_NAMES = (
    *METRIC_NAMES,
    "depth",
    "depths",
    "depth_map",
    "depth_maps",
    "pred_depth",
    "depth_pred",
)
"""How programs name an array of z-depth in an npz file."""
DISPARITY_NAMES = (
    "disparity",
    "disparities",
    "disp",
    "inverse_depth",
    "inv_depth",
    "pred_disparity",
    "disparity_pred",
)
"""... and one of disparity: inverse depth up to a factor, perhaps also to an offset."""
CONFIDENCE_NAMES = (
    "conf",
    "confidence",
    "depth_conf",
    "depth_confidence",
    "mask",
    "valid",
    "valid_mask",
)
"""... and one that says how sure they are; 0 or False: not at all."""


@dataclass(frozen=True)
class ArrayNames:
    """The arrays of an npz file that are read; without names what else a file holds."""

    values: str = ""
    confidence: str = ""


def find_names(path: Path, kind: str) -> ArrayNames:
    """The arrays to read of an npz file, by their names.

    Args:
        path: Any file of depth; only npz files have names.
        kind: `depth` or `disparity`, or `auto`.

    Raises:
        InputError: None has a known name, and there are several.
    """
    if path.suffix.lower() != ".npz":
        return ArrayNames()
    with _opened(path) as arrays:
        there = list(arrays)
    lower = {name.lower(): name for name in there}
    known = {
        "depth": DEPTH_NAMES,
        "disparity": DISPARITY_NAMES,
        "auto": (*DEPTH_NAMES, *DISPARITY_NAMES),
    }
    wanted = [lower[name] for name in known[kind] if name in lower]
    sure = next((lower[name] for name in CONFIDENCE_NAMES if name in lower), "")
    if not wanted:
        wanted = [name for name in there if name.lower() not in CONFIDENCE_NAMES]
        if len(wanted) != 1:
            named = ", ".join(there) or "none"
            raise InputError(
                f"{path} has the arrays: {named}; one of {', '.join(known[kind])} was needed: name it so, or keep a "
                "single one"
            )
    return ArrayNames(wanted[0], sure)


def read_arrays(path: Path, names: ArrayNames) -> tuple[np.ndarray, np.ndarray | None]:
    """What a file says of one frame, or of all in a row, and how sure it is; axes of length 1 are left out.

    Returns:
        Values as they are stored, (height, width) or (frames, height, width), and confidence of the same shape.
    """
    suffix = path.suffix.lower()
    sure = None
    if suffix == ".png":
        values = read_depth_values(path)
    elif suffix == ".exr":
        values = _read_exr(path)
    elif suffix == ".npy":
        values = _read_npy(path)
    else:
        with _opened(path) as arrays:
            values = _of_npz(path, arrays, names.values)
            sure = _of_npz(path, arrays, names.confidence) if names.confidence else None
    values = _plain(path, values)
    if sure is None:
        return values, None
    sure = _plain(path, sure)
    if sure.shape != values.shape:
        raise InputError(
            f"{path}: '{names.confidence}' has the shape {sure.shape}, but '{names.values}' {values.shape}; both need "
            "one shape: correct or remove it"
        )
    return values, sure


def _plain(path: Path, values: np.ndarray) -> np.ndarray:
    """Numbers without axes of length 1."""
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"{path} holds values of type {values.dtype}; real numbers were needed: write it as float32"
        )
    shape = tuple(side for side in values.shape if side != 1)
    if len(shape) not in (2, 3):
        raise InputError(
            f"{path} has the shape {values.shape}; (height, width), or (frames, height, width) of all frames, was "
            "needed: write it so"
        )
    return values.reshape(shape)


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise _unreadable(path, "an .npy file of numbers") from error


def _opened(path: Path) -> Any:
    """An npz file, to be closed."""
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile) as error:
        raise _unreadable(path, "an .npz file of numbers") from error
    if isinstance(found, np.ndarray):
        raise _unreadable(path, "an .npz file of numbers")
    return found


def _of_npz(path: Path, arrays: Any, name: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(
            f"{path} has no array '{name}', which the other files have; it has {', '.join(arrays) or 'none'}: write it "
            "as the others"
        )
    try:
        return np.asarray(arrays[name])
    except (ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, f"an array of numbers '{name}'") from error


def _read_exr(path: Path) -> Float32[np.ndarray, "height width"]:
    """The first channel of an OpenEXR picture."""
    try:
        with av.open(str(path)) as opened:
            frame = next(opened.decode(video=0))
            stored: Shaped[np.ndarray, ...] = frame.to_ndarray()
    except (av.FFmpegError, StopIteration, IndexError, ValueError, MemoryError) as error:
        raise _unreadable(path, "an OpenEXR picture with channels R, G, B or Y") from error
    if stored.dtype.kind != "f":
        raise _unreadable(path, "an OpenEXR picture with channels R, G, B or Y")
    first = stored if stored.ndim == 2 else stored[..., 0]
    return np.asarray(first, np.float32)


def _unreadable(path: Path, needed: str) -> InputError:
    return InputError(f"{path} cannot be read; {needed} was needed: restore or replace the file")
