"""What run.json says about a run."""

import dataclasses
import platform
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float64, Int64, UInt8

from recon4d.core.geometry import transfer
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import FLOW_STRIDE, DenseDepth, Flow, KnownPoses, MotionMasks, Scene, Video
from recon4d.core.stages import load_stage, stage_costs
from recon4d.flow import FlowMethod
from recon4d.run.focal_source import focal_notices, focal_source
from recon4d.run.rounds import Rounds
from recon4d.settings.config import RunConfig

PACKAGES = ("recon4d", "torch", "numpy", "scipy", "opencv-python-headless", "av", "roma")
CHECKED_OFFSETS = (1, 5, 10)
"""Frames apart at which the result's predicted motion is compared with the flow."""
CHECKED_PAIRS = 20
"""Pairs per offset, spread evenly over the video."""


@dataclass(frozen=True)
class Check:
    """Median static flow residual of the finished result, pixels of the working size, by frames apart."""

    residual_px: dict[str, float]


def _forward(
    method: FlowMethod, video: Video, pairs: Int64[np.ndarray, "pairs 2"], threads: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Flow and confidence of pairs from their first frame to the second, in the order of the pairs."""
    found = dict(method.pairs(video.images, pairs, threads))
    return [(found[at][0][0], found[at][1][0]) for at in range(len(pairs))]


def check_flow(
    video: Video,
    flow: Flow,
    scene: Scene,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    method: FlowMethod,
    threads: int,
) -> Check:
    """Compare the motion that depth and cameras predict for static pixels with the flow.

    Flow that the optimizer used is used again; that of farther frames is computed here.
    """
    edge_of = {(int(a), int(b)): edge for edge, (a, b) in enumerate(flow.edges)}
    out: dict[str, float] = {}
    for offset in CHECKED_OFFSETS:
        count = video.num_frames - offset
        if count < 1:
            continue
        starts = spread_evenly(count, CHECKED_PAIRS)
        pairs = np.stack((starts, starts + offset), axis=1)
        known = [edge_of.get((int(a), int(b))) for a, b in pairs]
        measured = (
            [(flow.flow_px[edge], flow.confidence[edge]) for edge in known]
            if None not in known
            else _forward(method, video, pairs, threads)
        )
        errors = [
            _residual(scene, dense, is_dynamic, pair, found)
            for pair, found in zip(pairs, measured, strict=True)
        ]
        together = np.concatenate(errors)
        if len(together):
            out[str(offset)] = float(np.median(together))
    return Check(out)


def _residual(
    scene: Scene,
    dense: DenseDepth,
    is_dynamic: Bool[np.ndarray, "frames height width"],
    pair: Int64[np.ndarray, "2"],
    measured_flow: tuple[Float16[np.ndarray, "rows cols 2"], UInt8[np.ndarray, "rows cols"]],
) -> Float64[np.ndarray, " pixels"]:
    """Distance of the predicted from the measured motion of one pair's confident static pixels, pixels."""
    flow_px, confidence = measured_flow
    source, target = int(pair[0]), int(pair[1])
    rows, cols = confidence.shape
    half = FLOW_STRIDE // 2
    depth = dense.depth[source][half::FLOW_STRIDE, half::FLOW_STRIDE][:rows, :cols]
    moving = is_dynamic[source][half::FLOW_STRIDE, half::FLOW_STRIDE][:rows, :cols]
    use = (confidence > 127) & (depth > 0) & ~moving
    row, col = np.nonzero(use)
    uv = torch.from_numpy((np.stack((col, row), axis=1) + 0.5) * FLOW_STRIDE)
    relative = np.linalg.inv(scene.world_from_cam[target]) @ scene.world_from_cam[source]
    k = torch.from_numpy(np.array(scene.intrinsics))
    predicted, ratio = transfer(
        uv,
        torch.from_numpy(1 / depth[use].astype(np.float64)),
        torch.from_numpy(relative),
        k[source],
        k[target],
    )
    measured = uv + torch.from_numpy(flow_px[use].astype(np.float64))
    error = torch.where(ratio > 0, (predicted - measured).norm(dim=-1), torch.inf)
    return np.asarray(error)


def report(
    config: RunConfig,
    folder: Path,
    video: Video,
    scene: Scene,
    motion: MotionMasks,
    rounds: Rounds,
    check: Check,
) -> dict[str, object]:
    """The content of run.json."""
    prediction = () if video.predicted_depth is None else video.predicted_depth.notices
    source = focal_source(video, scene)
    given = () if config.poses is None else load_stage(folder / "poses", KnownPoses).notices
    of_scene = (*scene.notices, *focal_notices(source, scene))
    notices = (*video.notices, *given, *prediction, *of_scene, *motion.notices, *rounds.notices)
    costs = stage_costs(folder)
    width, height = video.size
    return {
        "format": 1,
        "command": _command(),
        "versions": _versions(),
        "seed": config.seed,
        "device": config.device,
        "frames": video.num_frames,
        "posed": int(scene.is_posed.sum()),
        "size": [width, height],
        "scale": "metric" if scene.is_metric else "relative",
        "depth_factor": video.depth_factor,
        "geometry": config.geometry,
        "masks": config.masks,
        "flow": config.flow,
        "refine": config.refine,
        "focal_px": [float(v) for v in scene.intrinsics[0, :2]],
        "focal_known": video.intrinsics is not None,
        "focal_source": source,
        "static_flow_residual_px": check.residual_px,
        "rounds": [dataclasses.asdict(entry) for entry in rounds.history],
        "stages": costs,
        "seconds": sum(cost["seconds"] for cost in costs.values()),
        "peak_rss_mb": max(cost["peak_rss_mb"] for cost in costs.values()),
        "warnings": [dataclasses.asdict(notice) for notice in notices],
    }


def _command() -> str:
    """The program's command line; a resumed run is the same run."""
    program, *words = sys.argv
    return shlex.join([Path(program).name, *(word for word in words if word != "--resume")])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
