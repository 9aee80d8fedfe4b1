"""What run.json says about a run."""

import dataclasses
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recon4d.core.scene import (
    Notice,
    Scene,
    Video,
)
from recon4d.run.check import Check
from recon4d.run.doubts import Finished, doubts
from recon4d.run.focal_source import focal_notices, focal_source
from recon4d.run.rounds import Round
from recon4d.run.stages import POSES
from recon4d.settings.config import RunConfig

PACKAGES = ("recon4d", "torch", "numpy", "scipy", "opencv-python-headless", "av", "roma")


def report(
    config: RunConfig,
    folder: Path,
    video: Video,
    scene: Scene,
    rounds: Sequence[Round],
    notices: tuple[Notice, ...],
    check: Check,
) -> dict[str, object]:
    """The content of run.json but for what the run costs, which `recon4d.run.finish` adds.

    Args:
        config: What was asked.
        folder: Of the run, with its stages.
        video: The frames.
        scene: The last cameras.
        rounds: What each round of masks and optimization did.
        notices: Of masks, their refinement and the rounds; those of the frames and cameras are added here.
        check: What the result shows of itself; doubts about it are added to the warnings.
    """
    prediction = () if video.predicted_depth is None else video.predicted_depth.notices
    source = focal_source(video, scene)
    given = () if config.poses is None else POSES.load(folder).notices
    of_scene = (*scene.notices, *focal_notices(source, scene))
    every = (*video.notices, *given, *prediction, *of_scene, *notices)
    finished = Finished(scene, check.figures, video.size, source, check.residual_px)
    every += doubts(finished, every)
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
        **_overlay(video),
        "rounds": [dataclasses.asdict(entry) for entry in rounds],
        "warnings": [dataclasses.asdict(notice) for notice in every],
    }


def _overlay(video: Video) -> dict[str, object]:
    """Share of the picture that is overlay, and the frames that it is in unless it is in all; nothing without one."""
    found = video.overlay
    if found is None:
        return {}
    frames = {} if found.frames is None else {"frames": list(found.frames)}
    return {"overlay": {"share": found.share, **frames}}


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
