"""The synthetic scene as a shutter that rolls shows it: each row has its own camera, on the way between frames."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation, Slerp

from recon4d.core.pinhole import project_array
from recon4d.core.sampling import sample_px
from recon4d.core.scene import Flow, Shutter, Video
from recon4d.demo.render import Camera, cast
from tests.synthetic import SyntheticScene, make_scene


@dataclass(frozen=True)
class Rolling:
    """Lengths are metres."""

    made: SyntheticScene
    """As a shutter shows it that is open at once; the poses are those of the middle rows."""
    video: Video
    """With its shutter."""
    flow: Flow
    """As the shutter shows it; of what moves it is wrong."""
    inverse_depth: Float64[np.ndarray, "frames rows cols"]
    """Of every sample, along the ray of its own row's camera."""


def roll(num_frames: int, readout_s: float, noise_px: float = 0.0, **given: object) -> Rolling:
    """Make one.

    Args:
        num_frames: Number of frames.
        readout_s: From the first row to the last, seconds.
        noise_px: Standard deviation of the noise of the flow.
        given: More for `make_scene`.
    """
    made = make_scene(num_frames, (192, 144), 3, plain_lens=True, path="shaken", **given)  # type: ignore[arg-type]
    points, depth = _points(made, readout_s)
    grid = sample_px(*made.flow.confidence.shape[1:]).astype(np.float64)
    rng, flow_px = np.random.default_rng(5), np.empty_like(made.flow.flow_px)
    for edge, (source, target) in enumerate(made.flow.edges.tolist()):
        there = _seen(made, points[source], target, grid + made.flow.flow_px[edge], readout_s)
        flow_px[edge] = there - grid + rng.normal(0, noise_px, grid.shape)
    video = replace(made.video, shutter=Shutter(readout_s, is_given=True))
    return Rolling(made, video, replace(made.flow, flow_px=flow_px), 1 / depth)


def _cameras(
    made: SyntheticScene, frame: int, parts: Float64[np.ndarray, " rows"], readout_s: float
) -> tuple[Float64[np.ndarray, "rows 3 3"], Float64[np.ndarray, "rows 3"]]:
    """Rotations and centres at so many readouts after the middle row; beyond the ends of the video it goes on."""
    poses, times_s = made.scene.world_from_cam, made.video.timestamps_s
    before, last = poses[0] @ np.linalg.inv(poses[1]) @ poses[0], poses[-1]
    before[:3, 3], after = (
        2 * poses[0, :3, 3] - poses[1, :3, 3],
        last @ np.linalg.inv(poses[-2]) @ last,
    )
    after[:3, 3] = 2 * last[:3, 3] - poses[-2, :3, 3]
    step_s = times_s[1] - times_s[0]
    times_s = np.concatenate(([times_s[0] - step_s], times_s, [times_s[-1] + step_s]))
    poses = np.concatenate((before[None], poses, after[None]))
    when_s = made.video.timestamps_s[frame] + parts * readout_s
    turns = Slerp(times_s, Rotation.from_matrix(poses[:, :3, :3]))(when_s).as_matrix()
    centres = [np.interp(when_s, times_s, poses[:, axis, 3]) for axis in range(3)]
    return turns, np.stack(centres, axis=-1)


def _points(
    made: SyntheticScene, readout_s: float
) -> tuple[Float64[np.ndarray, "frames rows cols 3"], Float64[np.ndarray, "frames rows cols"]]:
    """World points and z-depth of all samples."""
    rows, cols = made.flow.confidence.shape[1:]
    grid, (_, height) = sample_px(rows, cols).astype(np.float64), made.video.size
    points = np.empty((made.video.num_frames, rows, cols, 3))
    depth = np.empty(points.shape[:3])
    for frame in range(made.video.num_frames):
        turns, centres = _cameras(made, frame, grid[:, 0, 1] / height - 0.5, readout_s)
        for row in range(rows):
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = turns[row], centres[row]
            camera = Camera(pose, made.scene.intrinsics[frame], made.video.timestamps_s[frame])
            line = grid[row][None]
            depth[frame, row] = cast(made.world, camera, line).depth[0]
            points[frame, row] = (
                centres[row] + depth[frame, row][:, None] * camera.directions(line)[0]
            )
    return points, depth


def _seen(
    made: SyntheticScene,
    points: Float64[np.ndarray, "rows cols 3"],
    target: int,
    about: Float64[np.ndarray, "rows cols 2"],
    readout_s: float,
) -> Float64[np.ndarray, "rows cols 2"]:
    """Pixels in which a frame's rolling shutter sees world points, beginning with where they are about."""
    flat, at = points.reshape(-1, 3), about.reshape(-1, 2)
    height = made.video.size[1]
    for _ in range(4):
        parts = np.clip(at[:, 1] / height - 0.5, -1, 1)
        turns, centres = _cameras(made, target, parts, readout_s)
        own = np.einsum("nij,ni->nj", turns, flat - centres)
        at = project_array(own, made.scene.intrinsics[target])
    return at.reshape(about.shape)
