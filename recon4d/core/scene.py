"""The data types that flow through the pipeline. All are frozen; arrays are numpy, channels last.

Conventions (docs/CONVENTIONS.md): OpenCV camera axes, `world_from_cam` poses, z-depth, pixel `(u, v)` with the
centre of the first pixel at (0.5, 0.5). Files and user input have that centre at (0, 0); only `recon4d.io` converts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int64, UInt8

if TYPE_CHECKING:
    pass

FLOW_STRIDE = 2
"""Pixels of the working size per sample of a `Flow` in each direction (DIS computes at half resolution)."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know; shown on screen and recorded in `run.json` under `warnings`."""

    code: str
    """Stable snake_case name, e.g. `truncated_video`."""
    message: str
    """One sentence: what was found and what it means for the result."""
    frames: tuple[int, ...] = ()
    """Indices of the processed frames that it concerns; empty where it concerns all."""


@dataclass(frozen=True)
class KnownPoses:
    """Poses that the user gives for some frames; their frame and scale are the result's."""

    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    """Of every frame; identity where none is given."""
    is_given: Bool[np.ndarray, " frames"]
    sigma: float = 0.0
    """Standard deviation of the given camera centres, in their own unit; 0: they are exact."""
    notices: tuple[Notice, ...] = ()
    """What was found when they were read."""


@dataclass(frozen=True)
class DepthPrior:
    """What a depth camera or a network says about the depth of every frame, in one unit for all of them."""

    depth: Float32[np.ndarray, "frames height width"]
    """z-depth, 0 = unknown. May be a memory map."""
    is_metric: bool
    """The unit is metres; else the scene has a scale of its own, and the prior follows it."""
    relative_sigma: Float16[np.ndarray, "frames height width"] | None = None
    """Standard deviation over depth; None: that of a depth camera, see `recon4d.optim.objective.depth_prior`."""
    focal_px: float | None = None
    """Focal length that it implies, pixels of the working size."""
    notices: tuple[Notice, ...] = ()
    is_guide: bool = False
    """Aligned to a finished scene, in its unit: it tells the shape of what nothing measures (`recon4d.optim.dense`)."""

    def of(self, frames: slice | Int64[np.ndarray, " some"]) -> "DepthPrior":
        """Of some frames; of a slice, memory maps stay memory maps."""
        sigma = None if self.relative_sigma is None else self.relative_sigma[frames]
        return replace(self, depth=self.depth[frames], relative_sigma=sigma)


@dataclass(frozen=True)
class Overlay:
    """What sticks to the picture (bars, a logo, a clock, subtitles): neither the static world nor a mover."""

    parts: Bool[np.ndarray, "parts height width"]
    """Pixels of the working size that each part covers."""
    spans: Int64[np.ndarray, "parts 2"]
    """First and last frame of each part."""
    num_frames: int

    def at(self, frame: int) -> Bool[np.ndarray, "height width"]:
        """The pixels that are covered in a frame."""
        return np.asarray(
            self.parts[(self.spans[:, 0] <= frame) & (self.spans[:, 1] >= frame)].any(0)
        )

    def of(self, frames: Int64[np.ndarray, " some"]) -> "Overlay | None":
        """The overlay of some frames; None where there is none in them.

        Args:
            frames: Ascending.
        """
        first = np.searchsorted(frames, self.spans[:, 0])
        last = np.searchsorted(frames, self.spans[:, 1], side="right") - 1
        there = first <= last
        if not there.any():
            return None
        spans = np.stack((first, last), axis=1)[there]
        return Overlay(np.asarray(self.parts[there]), spans, len(frames))

    @property
    def area(self) -> Bool[np.ndarray, "height width"]:
        """The pixels that are covered in any frame."""
        return np.asarray(self.parts.any(0))

    @property
    def share(self) -> float:
        """Part of the picture that is covered in any frame."""
        return float(self.area.mean())

    @property
    def frames(self) -> tuple[int, ...] | None:
        """Frames in which any of it is there; None: in all."""
        every = sorted({f for first, last in self.spans.tolist() for f in range(first, last + 1)})
        return None if len(every) == self.num_frames else tuple(every)


@dataclass(frozen=True)
class Repeats:
    """The frames of an input of which some repeat the one before."""

    shown: Int64[np.ndarray, " input_frames"]
    """The frame of the video that each shows, ascending."""
    timestamps_s: Float64[np.ndarray, " input_frames"]
    sources: tuple[str, ...]

    @property
    def again(self) -> Bool[np.ndarray, " input_frames"]:
        """Whether each repeats the one before."""
        return np.concatenate(([False], np.diff(self.shown) == 0))

    def places(self, frames: Iterable[int]) -> tuple[int, ...]:
        """All frames of the input that show some frames of the video."""
        return tuple(np.flatnonzero(np.isin(self.shown, list(frames))).tolist())

    def first(self, frame: int) -> int:
        """The first frame of the input that shows a frame of the video."""
        return int(np.searchsorted(self.shown, frame))


@dataclass(frozen=True)
class Shutter:
    """A shutter that rolls (`recon4d.core.shutter`): rows are read one after the other."""

    readout_s: float
    """Seconds from the first row to the last; negative where the last one is read first."""
    sigma_s: float = 0.0
    """Its standard deviation; 0 where it is given."""
    is_given: bool = False


@dataclass(frozen=True)
class Video:
    """Frames at working size, undistorted, with what the source says about them."""

    images: UInt8[np.ndarray, "frames height width 3"]
    """RGB. May be a read-only memory map."""
    timestamps_s: Float64[np.ndarray, " frames"]
    sources: tuple[str, ...]
    """Name of the source of each frame: a file name, or the index of the frame in a video."""
    source_size: tuple[int, int]
    """(width, height) of the input in pixels, after rotation, before resizing."""
    intrinsics: Float64[np.ndarray, "4"] | None = None
    """Known (fx, fy, cx, cy) in pixels of the working size; None where they must be estimated."""
    fy_over_fx: float = 1.0
    """Of a camera that is not known: 1 but for the rounding of the working size, as pixels are meant to be square."""
    found_intrinsics: Float64[np.ndarray, "4"] | None = None
    """(fx, fy, cx, cy) that were found with the lens of a camera that is not known, pixels of the working size: where
    the search of the focal length ends, and the principal point; None: the latter is in the middle."""
    stated_focal_px: float | None = None
    """fx that is about right, as it was stated in millimetres, pixels of the working size; None: nothing was."""
    sensor_depth: Float32[np.ndarray, "frames height width"] | None = None
    """Measured z-depth in metres, 0 = unknown; None where the input has none."""
    depth_factor: float | None = None
    """Value of the input's depth images for one metre; None where they are not read."""
    source_indices: tuple[int, ...] = ()
    """Index of each frame among the frames of the source; empty means that all were read: 0, 1, 2, ..."""
    lens: Float64[np.ndarray, " values"] | None = None
    """The input's camera where its lens distortion was undone (`recon4d.io.camera`); None: the input was pinhole."""
    shutter: Shutter | None = None
    """How the rows were read; None: all at once, or that is not known."""
    poses: KnownPoses | None = None
    """Poses that the user gives; None: all are estimated."""
    predicted_depth: DepthPrior | None = None
    """What a network says about the depth of these frames; None where none was asked."""
    overlay: Overlay | None = None
    """What sticks to the picture, and is painted over in `images`; None where nothing does."""
    repeats: Repeats | None = None
    """The input's frames, where some of them are repeated and stand here once; None: none is."""
    originals: UInt8[np.ndarray, "frames height width 3"] | None = None
    """The images with the overlay; None: they are `images`."""
    notices: tuple[Notice, ...] = ()

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return int(self.images.shape[0])

    @property
    def pictures(self) -> UInt8[np.ndarray, "frames height width 3"]:
        """The frames as they are shown."""
        return self.images if self.originals is None else self.originals

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the working size in pixels."""
        return int(self.images.shape[2]), int(self.images.shape[1])

    @property
    def depth_prior(self) -> DepthPrior | None:
        """Depth that is known besides what flow tells: measured, or else predicted."""
        if self.sensor_depth is not None:
            return DepthPrior(self.sensor_depth, is_metric=True)
        return self.predicted_depth

    @property
    def is_metric(self) -> bool:
        """Whether depth is known in metres."""
        return self.depth_prior is not None and self.depth_prior.is_metric


@dataclass(frozen=True)
class Flow:
    """Optical flow of directed frame pairs, sampled every `FLOW_STRIDE` pixels.

    It is that of a shutter that is open at once: what one that rolls adds to the motion of the static world is taken
    off (`recon4d.flow.unrolled`) as soon as it is known.

    Sample (row, col) sits at pixel `(u, v) = (FLOW_STRIDE * (col + 0.5), FLOW_STRIDE * (row + 0.5))`. Edge e and edge
    e + E/2 are the two directions of one pair.
    """

    edges: Int64[np.ndarray, "edges 2"]
    """(source, target) frame of each edge."""
    flow_px: Float16[np.ndarray, "edges rows cols 2"]
    """(du, dv) from source to target in pixels of the working size. May be a memory map."""
    confidence: UInt8[np.ndarray, "edges rows cols"]
    """Forward-backward consistency, 255 = consistent, 0 = not usable (occluded, leaves the image, no texture)."""

    def row_of(self) -> dict[tuple[int, int], int]:
        """Row of every (source, target)."""
        return {(int(a), int(b)): row for row, (a, b) in enumerate(self.edges)}


@dataclass(frozen=True)
class Scene:
    """Cameras and the sparse depth that the batch optimizer works on: one sample per cell of a working grid."""

    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    intrinsics: Float64[np.ndarray, "frames 4"]
    """(fx, fy, cx, cy) in pixels of the working size."""
    samples_px: Float32[np.ndarray, "frames samples 2"]
    """(u, v) of each sample; always a sample position of `Flow`."""
    inverse_depth: Float32[np.ndarray, "frames samples"]
    """1 / z in the scale of the poses; > 0."""
    inverse_depth_std: Float32[np.ndarray, "frames samples"]
    """Standard deviation of `inverse_depth`; infinite where nothing but the prior determines it."""
    is_posed: Bool[np.ndarray, " frames"]
    """False for frames whose pose is interpolated or guessed, not measured in the common frame."""
    component: Int64[np.ndarray, " frames"]
    """Pieces that no flow connects (before and after a hard cut); -1 = lost."""
    is_metric: bool = False
    """True where lengths are metres."""
    is_pose_trusted: Bool[np.ndarray, " frames"] | None = None
    """Frames whose given pose fits to the others and to the video; None: no pose was given, or none is of use."""
    focal_std: float = 0.0
    """Standard deviation of the logarithm of the focal length, as motion tells it; 0: it is known, or not judged."""
    is_order_unsure: bool = False
    """The reverse order of depth explains the flow about as well."""
    pose_covariance: Float64[np.ndarray, "frames 6 6"] | None = None
    """As `Result.pose_covariance`; None: not computed."""
    notices: tuple[Notice, ...] = ()

    @property
    def turns_only(self) -> bool:
        """The camera stands or only turns: no depth is measured."""
        return not np.isfinite(self.inverse_depth_std[self.component >= 0]).any()

    @property
    def zooms(self) -> bool:
        """Frames have focal lengths of their own."""
        return bool((self.intrinsics[:, 0] != self.intrinsics[0, 0]).any())


@dataclass(frozen=True)
class MotionMasks:
    """Probability that a pixel moves relative to the static world."""

    probability: Float32[np.ndarray, "frames rows cols"]
    """At the sampling of `Flow` (half the working size)."""
    border: int = 10
    """How far an outline may be off, samples of a picture of 512 px: blur and occlusion of the flow behind it."""
    unsure: tuple[float, float] = (0.05, 0.97)
    """Probabilities between which colours may say where an outline is: of masks that are swollen, nearly all. Beyond,
    they would trade heads and feet for background of their colour."""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class DenseDepth:
    """Depth of every pixel of the working size."""

    depth: Float32[np.ndarray, "frames height width"]
    """z-depth in the scale of the poses; 0 = unknown."""
    confidence: UInt8[np.ndarray, "frames height width"]
    """255 = certain, 0 = nothing is measured in the frame, or it has no pose; see docs/CONVENTIONS.md."""
    alone: Float16[np.ndarray, "frames rows cols"] | None = None
    """Depth of the static surface as each frame finds it without the completions of others, at the samples of `Flow`:
    what tells how far frames disagree. None: as `depth`."""
