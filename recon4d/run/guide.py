"""Depth of the user's own in a run: aligned to the last scene, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from recon4d.core.scene import Flow, MotionMasks, Notice, Scene, Video
from recon4d.core.similarity import Similarity
from recon4d.priors.given import guide, metric_scale
from recon4d.priors.steady import Finished
from recon4d.run.methods import Methods
from recon4d.run.options import given_depth
from recon4d.run.stages import GUIDE
from recon4d.settings.config import RunConfig

_UNKNOWN = {
    "metric": "in metres",
    "relative": "its factor is not measured",
    "affine": "its factor and its offset are not measured",
}


def with_guide(
    methods: Methods, folder: Path, video: Video, flow: Flow, scene: Scene, moving: MotionMasks
) -> Video:
    """The video with the user's depth in the unit of its last scene; as it is where there is none."""
    maps = methods.depth
    if maps is None:
        return video
    to = Finished(video, flow, scene, moving)
    return replace(video, predicted_depth=GUIDE.run(folder, lambda f: guide(maps, to, f)))


def in_metres(
    methods: Methods, video: Video, scene: Scene, of: Scene, frames: Int64[np.ndarray, " frames"]
) -> Scene:
    """A scene in metres where the user's depth is; as it is where that tells no unit, or given poses have one.

    Args:
        methods: With the user's depth.
        video: The whole of it.
        scene: What is scaled.
        of: What tells the scale; in one unit with `scene`.
        frames: Of the video, that `of` has.
    """
    maps = methods.depth
    if maps is None or maps.scale != "metric" or of.is_metric or of.is_pose_trusted is not None:
        return scene
    scale = metric_scale(maps, video, of, frames)
    covariance, units = scene.pose_covariance, np.repeat((1.0, scale), 3)
    return replace(
        Similarity(scale, np.eye(3), np.zeros(3)).scene(scene),
        pose_covariance=None if covariance is None else covariance * np.outer(units, units),
        is_metric=True,
    )


def source_named(notices: tuple[Notice, ...], config: RunConfig) -> tuple[Notice, ...]:
    """Notices of a scene, where that of no parallax says where the depth comes from."""
    return tuple(
        replace(each, message=_without_parallax(config))
        if each.code == "no_parallax" and config.depth is not None
        else each
        for each in notices
    )


def guide_entry(config: RunConfig) -> dict[str, object]:
    """What run.json says of the user's depth; nothing without it."""
    maps = given_depth(config)
    if maps is None:
        return {}
    return {"given_depth": {"kind": maps.kind, "scale": maps.scale, "array": maps.names.values}}


def _without_parallax(config: RunConfig) -> str:
    maps = given_depth(config)
    assert maps is not None, "depth is given"
    return (
        f"The camera does not translate (no parallax): rotations are measured, depth is that of --depth {maps.place}; "
        f"{_UNKNOWN[maps.scale]}, its confidence is low."
    )
