"""The stages of a video, top to bottom: read, flow, initialise, rounds of masks and optimization, depth, check.

Each is stored when it is finished and not computed again after an interruption (`recon4d.run.stages`).
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.progress import Progress
from recon4d.core.scene import DepthPrior, Flow, MotionMasks, Scene, Video
from recon4d.flow.guided import Guide, flow_by_guide
from recon4d.flow.overlay import without_overlay
from recon4d.flow.partners import seen_pairs
from recon4d.flow.store import measured_flow
from recon4d.flow.unrelated import why_unrelated
from recon4d.flow.unrolled import row_motion
from recon4d.io.camera import Camera
from recon4d.io.frames import Source
from recon4d.io.poses import read_known_poses
from recon4d.masks import FinalMasks, Seen
from recon4d.masks.given import given_method, outlines
from recon4d.masks.overlay import final_outside, outside_overlay
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.dense import densify
from recon4d.optim.unrelated import UnrelatedError
from recon4d.results.result import Result
from recon4d.run.check import check_flow
from recon4d.run.guide import in_metres, with_guide
from recon4d.run.methods import Methods
from recon4d.run.options import align_options
from recon4d.run.reading import given_masks, read_frames
from recon4d.run.repeats import with_repeats
from recon4d.run.report import report
from recon4d.run.rounds import Rounds, next_round
from recon4d.run.shutter import UNROLLED_MASKS, first_shutter, guided_shutter, with_shutter
from recon4d.run.spread import depth_spread
from recon4d.run.stages import (
    CHECK,
    DEPTH,
    FEATURES,
    FLOW,
    GEOMETRY,
    GUIDED_FLOW,
    INITIALISE,
    POSES,
    READ,
    REFINE,
    SPREAD,
    masks_of,
    optimised,
)
from recon4d.settings.config import RunConfig
from recon4d.settings.text import to_toml

Given = Bool[np.ndarray, "frames height width"] | None
"""The user's own masks."""


def reconstruct_in(config: RunConfig, methods: Methods, folder: Path, progress: Progress) -> Result:
    """All stages of a video that is aligned in one piece."""
    options = align_options(config)
    video = read_stage(config, folder, progress)
    given = given_masks(config, video)
    rounds, first_flow, flow = mutual_rounds(config, methods, folder, video, given, progress)
    video = with_shutter(folder, with_prediction(folder, video))
    scene, motion = rounds.scene, rounds.masks
    scene = in_metres(methods, video, scene, scene, np.arange(video.num_frames))
    seen = Seen(video, flow, None, options.threads, progress)
    final = REFINE.run(folder, lambda f: finish_masks(methods, seen, scene, motion, given))
    notices = (*motion.notices, *final.notices, *rounds.notices)
    moving = outlines(final.is_dynamic)
    video = with_guide(methods, folder, video, flow, scene, moving)
    dense = DEPTH.run(folder, lambda f: densify(video, flow, scene, moving, options, progress))
    spread = SPREAD.run(folder, lambda f: depth_spread(scene, dense, final.is_dynamic))
    check = CHECK.run(
        folder,
        lambda f: check_flow(
            video, first_flow, scene, dense, final.is_dynamic, methods.flow, options.threads
        ),
    )
    result = Result(
        world_from_cam=np.array(scene.world_from_cam),
        intrinsics=np.array(scene.intrinsics),
        timestamps_s=np.array(video.timestamps_s),
        sources=video.sources,
        images=video.pictures,
        depth=dense.depth,
        confidence=dense.confidence,
        is_dynamic=final.is_dynamic,
        is_metric=scene.is_metric,
        pose_covariance=scene.pose_covariance,
        depth_std=spread.std(dense, final.is_dynamic, video.sensor_depth is not None),
        run=report(config, folder, video, scene, rounds.history, notices, check),
        config_toml=to_toml(config.anchored()),
        overlay=None if video.overlay is None else video.overlay.area,
    )
    return with_repeats(result, video.repeats)


def read_stage(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    frames: Source | None = None,
    lens: Camera | None = None,
) -> Video:
    """The first stage: the frames, and what the user knows of their cameras; without a lens that was found."""
    video = READ.run(folder, lambda f: read_frames(config, f, progress, frames, lens))
    if config.focal == "per-frame" and video.intrinsics is not None:
        raise ConfigError(
            f"{config.input} has known intrinsics, and --focal per-frame has every frame's focal length estimated; "
            "leave --focal out, or give the folder of the images alone"
        )
    path, sigma = config.poses, config.pose_sigma or 0.0
    if path is None:
        return video
    return replace(video, poses=POSES.run(folder, lambda f: read_known_poses(path, sigma, video)))


def mutual_rounds(
    config: RunConfig,
    methods: Methods,
    folder: Path,
    video: Video,
    given: Given,
    progress: Progress,
) -> tuple[Rounds, Flow, Flow]:
    """The stages from flow to the last round of masks and optimization.

    Returns:
        What the rounds ended in, the flow that was measured first, and the flow of the last round; both as a shutter
        would have seen it that is open at once.
    """
    masks = methods.masks if given is None else given_method(given)
    methods = replace(methods, masks=outside_overlay(masks, video.overlay))
    seen, scene = observe(config, methods, folder, video, progress)
    compute = methods.masks.features
    if compute is not None:
        seen = replace(seen, features=FEATURES.run(folder, lambda f: compute(seen, f)))
    return _loop(config, methods, folder, seen, scene)


def observe(
    config: RunConfig, methods: Methods, folder: Path, video: Video, progress: Progress
) -> tuple[Seen, Scene]:
    """The stages between reading and the masks: flow, what a network says of the depth, first cameras and depth."""
    options = align_options(config)

    def measured(own: Path) -> Flow:
        pairs = seen_pairs(video.images)
        found = measured_flow(methods.flow, video.images, pairs, own, options.threads, progress)
        return without_overlay(found, video.overlay)

    flow = FLOW.run(folder, measured)
    prior = methods.prior

    def predicted(own: Path, scene: Scene | None) -> DepthPrior:
        assert prior is not None, "there is a network"
        with tempfile.TemporaryDirectory(dir=own) as scratch:
            return prior.of(video, flow, scene, Path(scratch), progress)

    if prior is not None and not prior.needs_scene:
        GEOMETRY.run(folder, lambda f: predicted(f, None))
    known = with_prediction(folder, video)

    def first(_: Path) -> Scene:
        try:
            return initial_scene(known, flow, options, progress)
        except UnrelatedError as error:
            raise DegenerateError(f"{error}: {why_unrelated(video)}") from error

    scene = INITIALISE.run(folder, first)
    if prior is not None and prior.needs_scene:
        GEOMETRY.run(folder, lambda f: predicted(f, scene))
    seen = Seen(with_prediction(folder, video), flow, None, options.threads, progress)
    return seen, scene


def with_prediction(folder: Path, video: Video) -> Video:
    """The video with what a network said of its depth; as it is where none was asked."""
    if not GEOMETRY.is_done(folder):
        return video
    return replace(video, predicted_depth=GEOMETRY.load(folder))


def _loop(
    config: RunConfig, methods: Methods, folder: Path, seen: Seen, scene: Scene
) -> tuple[Rounds, Flow, Flow]:
    """Masks and flow from the geometry, geometry from both, until the masks settle; see `mutual_rounds`."""
    options, method = align_options(config), methods.masks
    measured = seen
    if config.readout != 0:
        still = masks_of(0).run(folder, lambda f: method.masks(measured, scene))
        seen, scene = first_shutter(config.readout, options, folder, seen, (scene, still))
    first_flow, rounds = seen.flow, Rounds.begin(scene)
    while rounds.go_on(config.loop):
        at, before = len(rounds.history), rounds.scene
        if at == 1:
            guided = _guided(methods, folder, seen, measured.flow, before)
            seen = guided_shutter(options, folder, guided, (before, rounds.masks))
        now = seen  # of this round: the functions below are called in it

        def improve(scene: Scene, motion: MotionMasks, at: int = at, now: Seen = now) -> Scene:
            def compute(_: Path) -> Scene:
                return optimise(now.video, now.flow, scene, motion, options, now.progress)

            return optimised(at).run(folder, compute)

        def find(_: Path, before: Scene = before, now: Seen = now) -> MotionMasks:
            return method.masks(now, before)

        keeps = at > 0 and (rounds.settled or not method.depends_on_scene)
        anew = at == 0 and now.video.shutter is not None
        stage = UNROLLED_MASKS if anew else masks_of(at)
        motion = rounds.masks if keeps else stage.run(folder, find)
        rounds = next_round(rounds, motion, improve, now.flow, is_new_flow=at < 2)
    return rounds, first_flow, seen.flow


def _guided(methods: Methods, folder: Path, seen: Seen, measured: Flow, scene: Scene) -> Seen:
    """The same with flow that is measured with the help of a scene, of which some stays as it was measured first."""
    images, method, motion = seen.video.images, methods.flow, row_motion(seen.video, scene)

    def compute(own: Path) -> Flow:
        guide = replace(Guide.of(seen.flow, scene, seen.threads), flow=measured, motion=motion)
        found = flow_by_guide(images, guide, own, method, seen.threads, seen.progress)
        return without_overlay(found, seen.video.overlay)

    return replace(seen, flow=GUIDED_FLOW.run(folder, compute))


def finish_masks(
    methods: Methods, seen: Seen, scene: Scene, motion: MotionMasks, given: Given
) -> FinalMasks:
    """The masks that are written: the user's own as they are, others refined."""
    if given is not None:
        return FinalMasks(given)
    whole = methods.masks.whole
    last = motion if whole is None else whole(seen, scene, motion)
    found = methods.refine(seen, last, methods.masks.unites)
    return final_outside(found, seen.video.overlay)
