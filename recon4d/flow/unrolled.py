"""Flow as a shutter that is open at once would have seen it: what a rolling one adds is taken off.

What it adds follows from the cameras' motion and the depth of every sample, and depth from the flow: it is found with
the flow as it was measured, then with the corrected one.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from recon4d.core.arrays import create_array
from recon4d.core.parallel import each
from recon4d.core.sampling import image_size, sample_px
from recon4d.core.scene import Flow, Scene, Video
from recon4d.core.shutter import CameraPair, RowMotion
from recon4d.optim.triangulate import triangulate

DEPTH_ROUNDS = 2
"""Times that depth is found and the flow corrected by it: the second changes it by some hundredths of a pixel (20 ms of
`exact_static`)."""
ROW_ROUNDS = 2
"""Times that the row is looked up in which a point is predicted: the last moves it by less than a row."""


def row_motion(video: Video, scene: Scene) -> RowMotion | None:
    """How the cameras of a scene move while a picture is read; None where it is read at once."""
    if video.shutter is None:
        return None
    return RowMotion.of(
        torch.from_numpy(np.array(scene.world_from_cam)),
        torch.from_numpy(np.array(video.timestamps_s)),
        torch.from_numpy(np.array(scene.component)),
        video.shutter.readout_s,
        video.size[1],
    )


def unrolled_flow(video: Video, flow: Flow, scene: Scene, folder: Path, threads: int) -> Flow:
    """The same flow without what the shutter adds to it.

    Args:
        video: With its shutter.
        flow: As it was measured.
        scene: Cameras.
        folder: Where the new flow's memory maps are written.
        threads: Frames that are worked on at the same time.
    """
    motion = row_motion(video, scene)
    assert motion is not None, "the shutter rolls"
    out = create_array(folder / "flow_px.npy", np.float16, flow.flow_px.shape)
    sure = create_array(folder / "confidence.npy", np.uint8, flow.confidence.shape)

    def correct(frame: int) -> None:
        edges = np.flatnonzero(flow.edges[:, 0] == frame)
        if not len(edges):
            return
        measured = replace(
            flow,
            edges=flow.edges[edges],
            flow_px=flow.flow_px[edges],
            confidence=flow.confidence[edges],
        )
        found = measured
        for _ in range(DEPTH_ROUNDS):
            depth = triangulate(found, frame, scene).inverse_depth
            px = without_shutter(measured.flow_px, motion, scene, measured.edges, depth)
            found = replace(measured, flow_px=px.astype(np.float16))
        out[edges] = found.flow_px
        sure[edges] = (measured.confidence * trust(measured, motion)).round().astype(np.uint8)

    for _ in each(correct, range(video.num_frames), threads):
        pass
    return replace(flow, flow_px=out, confidence=sure)


def trust(measured: Flow, motion: RowMotion) -> Float32[np.ndarray, "edges rows cols"]:
    """Weight of measured flow by the rows that it begins and ends in (`RowMotion.trust`)."""
    edges, rows, cols = measured.confidence.shape
    source, target = torch.from_numpy(np.ascontiguousarray(measured.edges)).unbind(1)
    v = torch.from_numpy(sample_px(rows, cols)[..., 1]).reshape(1, -1)
    moved = torch.from_numpy(np.ascontiguousarray(measured.flow_px[..., 1], np.float32))
    both = motion.trust(source, v) * motion.trust(target, moved.flatten(1) + v)
    return np.asarray(both.reshape(edges, rows, cols).numpy(), np.float32)


def without_shutter(
    flow_px: Float[np.ndarray, "edges rows cols 2"],
    motion: RowMotion,
    scene: Scene,
    edges: Int64[np.ndarray, "edges 2"],
    inverse_depth: Float[Tensor, "rows cols"],
) -> Float32[np.ndarray, "edges rows cols 2"]:
    """Flow of edges from one frame without what the shutter adds to it.

    Args:
        flow_px: As it was measured.
        motion: Of the scene.
        scene: Cameras.
        edges: They have one source.
        inverse_depth: Of its samples.
    """
    moved = torch.from_numpy(np.ascontiguousarray(flow_px, np.float32))
    rows, cols = inverse_depth.shape
    uv = torch.from_numpy(sample_px(rows, cols)).reshape(1, -1, 2).transpose(1, 2)
    there_v = moved[..., 1].flatten(1) + uv[:, 1]
    rho = inverse_depth.float().flatten()[None]
    shift = motion.shift_px(uv, rho, there_v, pair_of(scene, edges))
    return np.asarray((moved - shift.transpose(1, 2).reshape(moved.shape)).numpy(), np.float32)


def rolled_flow(
    flow_px: Float32[np.ndarray, "rows cols 2"],
    motion: RowMotion | None,
    scene: Scene,
    pair: tuple[int, int],
    inverse_depth: Float32[np.ndarray, "rows cols"],
) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow of a static world, predicted for a shutter that is open at once, as the shutter shows it."""
    if motion is None:
        return flow_px
    rows, cols = inverse_depth.shape
    uv = torch.from_numpy(sample_px(rows, cols)).reshape(1, -1, 2).transpose(1, 2)
    there = torch.from_numpy(flow_px).reshape(1, -1, 2).transpose(1, 2) + uv
    rho = torch.from_numpy(np.ascontiguousarray(inverse_depth)).flatten()[None]
    cameras, most_v = pair_of(scene, np.array([pair])), float(image_size(rows, cols)[1])
    shift = torch.zeros_like(there)
    for _ in range(ROW_ROUNDS):
        row = (there + shift)[:, 1].clamp(0, most_v)
        shift = motion.shift_px(uv, rho, row, cameras)
    return np.asarray(flow_px + shift[0].T.reshape(flow_px.shape).numpy(), np.float32)


def pair_of(scene: Scene, edges: Int64[np.ndarray, "edges 2"]) -> CameraPair:
    """The cameras of edges."""
    poses, intrinsics = np.array(scene.world_from_cam), torch.from_numpy(scene.intrinsics).float()
    source, target = torch.from_numpy(np.ascontiguousarray(edges)).unbind(1)
    relative = np.linalg.inv(poses[edges[:, 1]]) @ poses[edges[:, 0]]
    return CameraPair(
        source,
        target,
        torch.from_numpy(relative).float(),
        intrinsics[source],
        intrinsics[target],
    )
