"""What a run found: everything a result folder holds, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, UInt8

from recon4d.core.scene import Notice
from recon4d.results.motion import Objects, Tracks


@dataclass(frozen=True)
class Cameras:
    """What a result has besides its pixels."""

    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    intrinsics: Float64[np.ndarray, "frames 4"]
    """(fx, fy, cx, cy) in pixels of the working size, centre of the first pixel at (0.5, 0.5)."""
    timestamps_s: Float64[np.ndarray, " frames"]
    sources: tuple[str, ...]
    size: tuple[int, int]
    """(width, height) of the working size in pixels."""
    is_metric: bool
    run: dict[str, object]
    """As in `Result`."""
    config_toml: str
    pose_covariance: Float64[np.ndarray, "frames 6 6"] | None = None
    """As in `Result`."""
    overlay: Bool[np.ndarray, "height width"] | None = None
    """As in `Result`."""


@dataclass(frozen=True, repr=False)
class Result:
    """The result of a run: what the result folder holds, in memory. Users get it as a `Reconstruction`."""

    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    intrinsics: Float64[np.ndarray, "frames 4"]
    """(fx, fy, cx, cy) in pixels of the working size, centre of the first pixel at (0.5, 0.5)."""
    timestamps_s: Float64[np.ndarray, " frames"]
    sources: tuple[str, ...]
    images: UInt8[np.ndarray, "frames height width 3"]
    depth: Float32[np.ndarray, "frames height width"]
    confidence: UInt8[np.ndarray, "frames height width"]
    is_dynamic: Bool[np.ndarray, "frames height width"]
    is_metric: bool
    pose_covariance: Float64[np.ndarray, "frames 6 6"] | None = None
    """Of every frame's pose relative to the frame before: covariance of the twist (rotation vector in radians,
    translation in scene units; axes of the frame's own camera) of `inv(true) @ found`, both the pose of frame t in the
    camera of frame t - 1; where the result is not metric, after the similarity that fits the trajectories. The first
    frame's is 0: the world is fixed to it. Infinite: not measured; None: not known."""
    depth_std: Float16[np.ndarray, "frames height width"] | None = None
    """Standard deviation of the depth, in its unit; infinite: not known (no depth, or nothing that tells how far it is
    off); None: of no pixel."""
    overlay: Bool[np.ndarray, "height width"] | None = None
    """Pixels that an overlay (bars, a logo, a clock, subtitles) covers in any frame: in those frames they are not
    moving, and their depth and confidence are 0. None: nothing sticks to the picture."""
    tracks: Tracks | None = None
    """Points followed through the video; None: none were asked for."""
    objects: Objects | None = None
    """The things that move, by ids; None: they were not asked for."""
    scene_flow: Float16[np.ndarray, "frames height width 3"] | None = None
    """How far the point that a pixel shows moves in the world until the next frame, scene units; 0 = static, nan = not
    known, as all is in the last frame; None: it was not asked for."""
    run: dict[str, object] = field(default_factory=dict)
    """The content of `run.json`."""
    config_toml: str = ""
    """The content of `config.toml`."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.sources)

    def __repr__(self) -> str:
        """One line that says what it is."""
        return summary(self)

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """What the run found that the user should know, as in `run.json`."""
        return warnings_of(self.run)


def summary(result: Result) -> str:
    """E.g. `Reconstruction(33 frames of 256x144 px, 2.13 s, focal length 211.5 px, relative scale, 8.2 % moving)`."""
    height, width = result.depth.shape[1:]
    times, warnings = result.timestamps_s, len(warnings_of(result.run))
    parts = [
        f"{len(result)} frames of {width}x{height} px",
        f"{times[-1] - times[0]:.2f} s",
        f"focal length {float(np.median(result.intrinsics[:, :2])):.1f} px",
        "metres" if result.is_metric else "relative scale",
        f"{100 * float(result.is_dynamic.mean()):.1f} % moving",
        *([f"{warnings} warning{'s' * (warnings > 1)}"] if warnings else []),
    ]
    return f"Reconstruction({', '.join(parts)})"


def warnings_of(run: Mapping[str, object]) -> tuple[Notice, ...]:
    """The notices that `run.json` has under `warnings`."""
    stored = run.get("warnings")
    found = [row for row in stored if isinstance(row, Mapping)] if isinstance(stored, list) else []
    return tuple(
        Notice(str(row.get("code", "")), str(row.get("message", "")), tuple(row.get("frames", ())))
        for row in found
    )
