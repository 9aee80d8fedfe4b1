"""What run.json says about a run."""

import dataclasses
import platform
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from recon4d.core.scene import (
    Notice,
    Scene,
    Video,
)
from recon4d.optim.assemble import lost_notice, piece_notice
from recon4d.run.check import Check
from recon4d.run.doubts import Finished, doubts
from recon4d.run.focal_source import FocalSource, focal_notices, focal_source, motion_kind
from recon4d.run.guide import guide_entry, source_named
from recon4d.run.lens_source import explains_nothing, focal_std, lens_report
from recon4d.run.repeats import repeat_notices
from recon4d.run.rounds import Round
from recon4d.run.shutter import shutter_entry
from recon4d.run.stages import POSES
from recon4d.settings.config import RunConfig

TOLD = ("seed", "device", "geometry", "masks", "flow", "refine")
"""Options that run.json has by their names."""
NAMING = {"lost_frames": lost_notice, "disconnected": piece_notice}
"""Notices whose sentences name frames."""
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
    source = focal_source(video, scene)
    found = (
        *_of_inputs(config, folder, video),
        *_of_cameras(config, video, scene, source),
        *notices,
    )
    lens = lens_report(folder, video)
    finished = _finished(video, scene, check, source, explains_nothing(lens))
    return {
        "format": 1,
        "command": _command(),
        "versions": _versions(),
        **_counts(video, scene),
        "size": list(video.size),
        "scale": "metric" if scene.is_metric else "relative",
        "depth_factor": video.depth_factor,
        **{name: getattr(config, name) for name in TOLD},
        **guide_entry(config),
        "focal_px": [float(v) for v in scene.intrinsics[0, :2]],
        "focal_known": video.intrinsics is not None,
        "focal_source": source,
        "focal_stated_px": video.stated_focal_px,
        **_motion(video, scene),
        "static_flow_residual_px": check.residual_px,
        "lens": lens,
        "focal_std": focal_std(scene, lens),
        **_overlay(video),
        "rounds": [dataclasses.asdict(entry) for entry in rounds],
        "warnings": _warnings(video, found, finished),
    }


def _of_inputs(config: RunConfig, folder: Path, video: Video) -> tuple[Notice, ...]:
    """Of the frames, of the poses that were given, and of depth that is given or predicted."""
    given = () if config.poses is None else POSES.load(folder).notices
    prediction = () if video.predicted_depth is None else video.predicted_depth.notices
    return (*video.notices, *given, *prediction)


def _of_cameras(
    config: RunConfig, video: Video, scene: Scene, source: FocalSource
) -> tuple[Notice, ...]:
    """Of the cameras, and of where their focal length is from."""
    of_focal = focal_notices(source, scene, video.stated_focal_px)
    return (*source_named(scene.notices, config), *of_focal)


def _finished(
    video: Video, scene: Scene, check: Check, source: FocalSource, no_lens: bool
) -> Finished:
    """What doubts are looked for in."""
    there = partial(in_input, video=video)
    return Finished(scene, check.figures, video.size, source, check.residual_px, there, no_lens)


def _counts(video: Video, scene: Scene) -> dict[str, object]:
    """How many frames the result has, and how many of them have a pose."""
    shown = np.arange(video.num_frames) if video.repeats is None else video.repeats.shown
    return {"frames": len(shown), "posed": int(scene.is_posed[shown].sum())}


def _motion(video: Video, scene: Scene) -> dict[str, object]:
    """How the camera moves, and what its shutter makes of that."""
    return {**shutter_entry(video), "motion": {"kind": motion_kind(scene)}}


def _warnings(
    video: Video, found: tuple[Notice, ...], finished: Finished
) -> list[dict[str, object]]:
    """What was found on the way, doubts about the result, and repeated frames; frames are those of the input."""
    of_input = _of_input(found, video)
    every = (*of_input, *doubts(finished, found), *repeat_notices(video.repeats))
    return [dataclasses.asdict(notice) for notice in every]


def _overlay(video: Video) -> dict[str, object]:
    """Share of the picture that is overlay, and the frames that it is in unless it is in all; nothing without one."""
    found = video.overlay
    if found is None:
        return {}
    if found.frames is None:
        return {"overlay": {"share": found.share}}
    return {"overlay": {"share": found.share, "frames": list(in_input(found.frames, video))}}


def in_input(frames: tuple[int, ...], video: Video) -> tuple[int, ...]:
    """The input's frames, as the result has them, that show frames of the video."""
    return frames if video.repeats is None else video.repeats.places(frames)


def _of_input(notices: tuple[Notice, ...], video: Video) -> tuple[Notice, ...]:
    """With the input's frames, in sentences that name them, too."""
    every = [
        dataclasses.replace(notice, frames=in_input(notice.frames, video)) for notice in notices
    ]
    return tuple(NAMING[each.code](each.frames) if each.code in NAMING else each for each in every)


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
