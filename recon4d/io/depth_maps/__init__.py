"""Depth of the user's own, from any model or camera: one file per frame, or one of all frames.

Numbers here that name no source were set by hand.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from recon4d.core.errors import InputError
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Notice, Video
from recon4d.io.camera import camera_from_array
from recon4d.io.depth_maps.arrays import (
    DISPARITY_NAMES,
    METRIC_NAMES,
    SUFFIXES,
    ArrayNames,
    find_names,
    read_arrays,
)
from recon4d.io.lens import Undistortion, undistortion
from recon4d.io.matching import PerFrame, is_of_video, marked
from recon4d.io.pictures.names import natural_key
from recon4d.io.resize import resize_nearest, same_shape
from recon4d.io.rgbd.unit import find_depth_unit

_WORDS = r"(depth|disp|disparity)(_?maps?|_pred|_raw)?"
MARK = re.compile(
    rf"^(raw_|pred_)?{_WORDS}[_\-. ]|[_\-. ](raw_|pred_)?{_WORDS}$",
    re.IGNORECASE,
)
"""What programs add to the name of an image to name its depth: `depth_NAME`, `NAME_depth`, `NAME_raw_depth`."""
LOOKED_AT = 16
"""Frames that are looked at before a run begins, spread evenly."""
LEVELS = (0.01, 0.5, 0.99)
"""Quantiles of the values of those frames that say in which range a model speaks."""

Values = Float32[np.ndarray, "height width"]
"""Of a map as it is stored; 0 = unknown."""
Fitted = Float32[np.ndarray, "rows cols"]
"""Of a map at the size of the video."""


@dataclass(frozen=True)
class DepthMaps:
    """Depth of the user's, one map for every frame of the input."""

    place: Path
    """What `--depth` names."""
    files: tuple[Path, ...]
    """One per frame, or one of all frames in a row."""
    is_stack: bool
    names: ArrayNames
    kind: str
    """`depth` or `disparity`."""
    scale: str
    """`metric`, `relative` (up to a factor of each frame) or `affine` (up to a factor and an offset)."""
    factor: float = 1.0
    """What stands for one metre."""
    notices: tuple[Notice, ...] = ()

    def check(self, video: Video, num_input: int | None = None) -> tuple[Notice, ...]:
        """Refuse what does not belong to a video, and say how it is read.

        Args:
            video: All frames.
            num_input: How many frames the input has, where all of them are read.

        Raises:
            InputError: A frame has no map; or one has another shape than the frames, or knows nothing.
        """
        if self.is_stack and num_input is not None:
            self._refuse_count(num_input)
        is_known = False
        for frame in spread_evenly(video.num_frames, LOOKED_AT):
            values, _ = next(self.at(video, [int(frame)]))
            is_known |= bool((values != 0).any())
        if not is_known:
            raise InputError(
                f"--depth {self.place} knows nothing: every value that was looked at is 0, infinite or no number; "
                "check what wrote it, or leave --depth out"
            )
        return (self._notice(video), *self.notices)

    def at(self, video: Video, frames: list[int]) -> Iterator[tuple[Fitted, Fitted | None]]:
        """Values and confidence of some frames of a video (or clip), at its size and without its lens distortion.

        Confidence is 1 in the middle of what the file says; None where it says nothing of it.
        """
        lens = None
        if video.lens is not None:
            lens = undistortion(camera_from_array(video.lens), video.source_size)
        for frame, (path, values, sure) in zip(frames, self._stored(video, frames), strict=True):
            fitted = _Fitted(video, lens, f"{path} of frame {frame}")
            found = fitted.values(self._known(path, values))
            yield found, None if sure is None else fitted.values(_even(sure))

    def levels(self) -> tuple[float, float, float]:
        """`LEVELS` of the values of some files."""
        known = []
        if self.is_stack:
            whole = read_arrays(self.files[0], self.names)[0]
            some = (whole[frame] for frame in spread_evenly(len(whole), LOOKED_AT))
        else:
            chosen = spread_evenly(len(self.files), LOOKED_AT)
            some = (read_arrays(self.files[frame], self.names)[0] for frame in chosen)
        for values in some:
            read = self._known(self.place, values)
            known.append(read[read != 0])
        low, middle, high = np.quantile(np.concatenate(known), LEVELS).tolist()
        return low, middle, high

    def _stored(
        self, video: Video, frames: list[int]
    ) -> Iterator[tuple[Path, np.ndarray, np.ndarray | None]]:
        if not self.is_stack:
            paths = _per_frame(self.place, self.files).match(video)
            for frame in frames:
                yield paths[frame], *self._one(paths[frame])
            return
        path, indices = self.files[0], video.source_indices or range(video.num_frames)
        values, sure = read_arrays(path, self.names)
        self._refuse_count(max(indices) + 1, at_least=True)
        for frame in frames:
            yield path, values[indices[frame]], None if sure is None else sure[indices[frame]]

    def _one(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        values, sure = read_arrays(path, self.names)
        if values.ndim != 2:
            raise InputError(
                f"{path} has the shape {values.shape}; (height, width) was needed in a folder with a file for each "
                "frame: write one map to a file, or one file (frames, height, width) of all frames"
            )
        return values, sure

    def _refuse_count(self, needed: int, *, at_least: bool = False) -> None:
        found = len(read_arrays(self.files[0], self.names)[0])
        if found == needed or (at_least and found > needed):
            return
        raise InputError(
            f"{self.files[0]} holds depth of {found} frames, and the input has {needed}{' or more' * at_least}; one "
            "map for every frame of the input was needed, in their order: write it anew"
        )

    def _known(self, path: Path, stored: np.ndarray) -> Values:
        """Values as numbers of their unit; 0 where nothing is known."""
        values = np.array(stored, np.float32)
        values[~np.isfinite(values)] = 0
        if self.scale != "affine" and bool((values < 0).any()):
            raise InputError(
                f"{path} has negative values, which no {self.kind} has ({self.kind} of scale {self.scale}); mark "
                "unknown pixels by 0 or NaN, or add --depth-scale affine if an offset is not known"
            )
        return values / np.float32(self.factor)

    def _notice(self, video: Video) -> Notice:
        array = f"the array '{self.names.values}' of " if self.names.values else ""
        sure = f", with the confidence '{self.names.confidence}'" if self.names.confidence else ""
        where = f"{self.files[0].suffix} files" if len(self.files) > 1 else self.files[0].name
        first = ""
        counted = not self.is_stack and _per_frame(self.place, self.files).counts_from_one
        if counted and is_of_video(video):
            first = f"; they are numbered from 1: {self.files[0].name} is the video's first frame"
        message = (
            f"Depth of the user's own: {array}{where}{sure}, taken for {self.kind} {_SCALES[self.scale]}{first}. "
            "(--depth-kind, --depth-scale)"
        )
        return Notice("given_depth", message)


_SCALES = {
    "metric": "in metres",
    "relative": "up to a factor in each frame",
    "affine": "up to a factor and an offset in each frame",
}


def depth_maps(
    place: Path, kind: str = "auto", scale: str = "auto", factor: float | None = None
) -> DepthMaps:
    """Find out what the user's depth is.

    Args:
        place: A folder with one file per frame, or a file of all frames.
        kind: `depth`, `disparity`, or `auto`: what the name of the array says, else depth.
        scale: `metric`, `relative`, `affine`, or `auto`: metres if the name says so, affine of disparity, relative of
            depth.
        factor: What stands for one metre; None: 1, and in 16-bit pictures what is plausible.

    Raises:
        InputError: There is nothing that can be read.
    """
    files = _list(place)
    names = find_names(files[0], kind)
    called = names.values.lower()
    if kind == "auto":
        kind = "disparity" if called in DISPARITY_NAMES else "depth"
    if scale == "auto":
        usual = "affine" if kind == "disparity" else "relative"
        scale = "metric" if called in METRIC_NAMES and kind == "depth" else usual
    shape = read_arrays(files[0], names)[0].shape
    found = DepthMaps(place, files, len(files) == 1 and len(shape) == 3, names, kind, scale)
    if scale != "metric":
        return found
    if files[0].suffix.lower() != ".png":
        return replace(found, factor=factor or 1.0)
    unit = find_depth_unit(files, factor)
    return replace(found, factor=unit.factor, notices=unit.notices)


def _list(place: Path) -> tuple[Path, ...]:
    """The files of one kind at a place, in natural order."""
    kinds = ", ".join(SUFFIXES)
    if not place.exists():
        raise InputError(
            f"--depth {place} does not exist; a folder with one file of depth per frame was needed"
        )
    if not place.is_dir():
        if place.suffix.lower() in SUFFIXES:
            return (place,)
        raise InputError(f"--depth {place} is no file of depth; {kinds} was needed: convert it")
    try:
        there = [path for path in place.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(
            f"--depth {place} cannot be read ({error.strerror}); change its permissions"
        ) from error
    for suffix in SUFFIXES:
        files = [path for path in there if path.suffix.lower() == suffix and path.is_file()]
        if files:
            ordered = sorted(files, key=lambda path: natural_key(path.name))
            return marked(ordered, MARK)
    found = ", ".join(sorted({path.suffix or path.name for path in there})) or "nothing"
    raise InputError(
        f"--depth {place} holds {found}; one file of depth per frame was needed ({kinds}): convert them"
    )


def _per_frame(place: Path, files: tuple[Path, ...]) -> PerFrame:
    return PerFrame(place, files, "--depth", "depth", MARK)


def _even(sure: np.ndarray) -> Values:
    """Confidence with the median of what is known at 1, whatever its range; 0 where it says that nothing is."""
    values = np.array(sure, np.float32)
    values[~(np.isfinite(values) & (values > 0))] = 0
    known = values[values > 0]
    return values / np.median(known) if len(known) else values


@dataclass(frozen=True)
class _Fitted:
    """Brings maps to the frames of a video."""

    video: Video
    lens: Undistortion | None
    name: str
    """Of the map, for messages."""

    def values(self, stored: Values) -> Fitted:
        video, size = self.video, (stored.shape[1], stored.shape[0])
        if size == video.size and size != video.source_size:
            return stored
        if not same_shape(size, video.source_size):
            raise InputError(
                f"{self.name} has {size[0]}x{size[1]} px; the shape of the input, {video.source_size[0]}x"
                f"{video.source_size[1]} px, at any resolution, or the working size {video.size[0]}x{video.size[1]} px "
                "was needed: resize it"
            )
        if self.lens:
            stored = self.lens.nearest(_resized(stored, video.source_size))
        return _resized(stored, video.size)


def _resized(values: Values, size: tuple[int, int]) -> Fitted:
    """Values at another size: means of what is known, and the nearest where a neighbour is not."""
    if (values.shape[1], values.shape[0]) == size:
        return values
    smaller = size[0] < values.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    mean = cv2.resize(np.where(values == 0, np.float32(np.nan), values), size, interpolation=how)
    return np.where(np.isnan(mean), resize_nearest(values, size), mean)
