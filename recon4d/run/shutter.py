"""The stages of a shutter that rolls: found once there are cameras and masks, and again from the guided flow."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recon4d.core.scene import Flow, MotionMasks, Scene, Shutter, Video
from recon4d.core.stages import Stage
from recon4d.flow.unrolled import unrolled_flow
from recon4d.masks import Seen
from recon4d.optim.align import static_setting
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions
from recon4d.optim.shutter import (
    Fit,
    find_readout,
    refined,
    shutter_of,
    with_readout,
    with_state,
)
from recon4d.run.stages import FLOW, GUIDED_FLOW


@dataclass(frozen=True)
class Rolled:
    """What was found of the shutter: nothing where it is open at once, or the video does not tell."""

    shutter: Shutter | None = None
    scene: Scene | None = None
    """Cameras that belong to it."""


SHUTTER = Stage("shutter", Rolled)
"""From the flow that was measured first."""
GUIDED_SHUTTER = Stage("guided_shutter", Rolled)
"""From the guided flow."""
UNROLLED_FLOW = Stage("unrolled_flow", Flow)
UNROLLED_GUIDED_FLOW = Stage("unrolled_guided_flow", Flow)
UNROLLED_MASKS = Stage("unrolled_masks", MotionMasks)
"""The masks of round 0, where the shutter rolls."""
MS = 1e-3
"""Seconds in a millisecond."""


Known = tuple[Scene, MotionMasks]
"""Current cameras, and what moves."""


def first_shutter(
    readout_ms: float | None, options: AlignOptions, folder: Path, seen: Seen, known: Known
) -> tuple[Seen, Scene]:
    """Find the shutter; where it rolls: video, flow and scene that know of it.

    Args:
        readout_ms: What is given; None: nothing.
        options: Of the optimizer.
        folder: Of the run.
        seen: With the flow as it was measured.
        known: Without a readout.
    """

    def find(_: Path) -> Rolled:
        if seen.video.num_frames < 2:
            return Rolled()
        setting, state = static_setting(seen.video, seen.flow, *known, options), State.of(known[0])
        if readout_ms is None:
            return _of_fit(find_readout(setting, state, options.kernel_px), known[0])
        fit = with_readout(setting, state, readout_ms * MS, options.kernel_px)
        return _of_fit(fit, known[0])

    found = SHUTTER.run(folder, find)
    if found.scene is None:
        return seen, known[0]
    return _unrolled(found, seen, folder, UNROLLED_FLOW), found.scene


def guided_shutter(options: AlignOptions, folder: Path, seen: Seen, known: Known) -> Seen:
    """Where the shutter rolls: its readout from guided flow, and that flow without what it adds."""
    before = seen.video.shutter
    if before is None:
        return seen

    def find(_: Path) -> Rolled:
        setting, state = static_setting(seen.video, seen.flow, *known, options), State.of(known[0])
        if not before.is_given:
            fit = refined(setting, Fit(before.readout_s, state), options.kernel_px)
            if fit is not None:
                return _of_fit(fit, known[0])
        fit = with_readout(setting, state, before.readout_s, options.kernel_px)
        return replace(_of_fit(fit, known[0]), shutter=before)

    return _unrolled(GUIDED_SHUTTER.run(folder, find), seen, folder, UNROLLED_GUIDED_FLOW)


def with_shutter(folder: Path, video: Video) -> Video:
    """A video with what was found of its shutter."""
    for stage in (GUIDED_SHUTTER, SHUTTER):
        if stage.is_done(folder):
            return replace(video, shutter=stage.load(folder).shutter)
    return video


def last_flow(folder: Path) -> Flow:
    """The flow of the last round."""
    stages = (UNROLLED_GUIDED_FLOW, GUIDED_FLOW, UNROLLED_FLOW, FLOW)
    return next(stage for stage in stages if stage.is_done(folder)).load(folder)


def _of_fit(fit: Fit | None, scene: Scene) -> Rolled:
    if fit is None:
        return Rolled()
    return Rolled(shutter_of(fit), with_state(scene, fit.state))


def _unrolled(found: Rolled, seen: Seen, folder: Path, stage: Stage[Flow]) -> Seen:
    """The same with the shutter, and flow without what it adds."""
    video, scene = replace(seen.video, shutter=found.shutter), found.scene
    assert scene is not None, "the shutter rolls"
    flow = stage.run(folder, lambda f: unrolled_flow(video, seen.flow, scene, f, seen.threads))
    return replace(seen, video=video, flow=flow)


def _milliseconds(seconds: float) -> float:
    return float(np.round(seconds / MS, 3))


def shutter_entry(video: Video) -> dict[str, object]:
    """What run.json says of the shutter."""
    shutter = video.shutter or Shutter(0.0)
    told = {"readout_ms": _milliseconds(shutter.readout_s)}
    if shutter.readout_s and not shutter.is_given:
        told["readout_sigma_ms"] = _milliseconds(shutter.sigma_s)
    return dict(told)
