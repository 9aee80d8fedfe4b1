"""The run, top to bottom: read, flow, initialise, rounds of masks and optimization, depth, write."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool

from recon4d import masks, priors
from recon4d.core.errors import ConfigError, Recon4DError, WorkerError
from recon4d.core.files import writing
from recon4d.core.parallel import own_torch
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import DenseDepth, DepthPrior, Flow, KnownPoses, MotionMasks, Scene, Video
from recon4d.core.stages import load_stage, run_stage
from recon4d.flow.dis import compute_flow
from recon4d.flow.guided import guided_flow
from recon4d.flow.pairs import window_pairs
from recon4d.io.files import (
    PlaceTakenError,
    check_output,
    check_place,
    missing_parents,
    partial_folder,
    publish,
    remove_empty,
)
from recon4d.io.frames import Source
from recon4d.io.poses import read_known_poses
from recon4d.masks.features import Features
from recon4d.masks.refine.sam2 import check_sam2
from recon4d.optim.align import initial_scene, optimise
from recon4d.optim.dense import densify
from recon4d.results.result import Result
from recon4d.run.finish import Clock, write_all
from recon4d.run.long.clips import is_long
from recon4d.run.options import align_options
from recon4d.run.reading import given_masks, read_frames
from recon4d.run.report import Check, check_flow, report
from recon4d.run.resume import begin, clear, is_begun, is_published, locked, will_publish
from recon4d.run.rounds import Rounds, next_round
from recon4d.run.spread import DepthSpread, depth_spread
from recon4d.settings.config import NETWORKS, RunConfig
from recon4d.settings.text import to_toml
from recon4d.settings.unused import refuse_unused
from recon4d.weights.resolve import backbone_weights, geometry_mono, mono_weights


def run(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = no_progress,
    frames: Source | None = None,
    began_s: float | None = None,
) -> Path:
    """Reconstruct a video and write its result folder.

    Args:
        config: What to do.
        resume: Go on with the finished stages of an interrupted run of the same configuration.
        overwrite: Replace a result that is already there.
        progress: Told how far each stage is.
        frames: Frames in memory, which are read in the place of `config.input`.
        began_s: When the command began (`time.monotonic`), for the times in run.json; None: now.

    Returns:
        The result folder.

    Raises:
        Recon4DError: The user can mend it; nothing is left behind.
        WorkerError: A process that computed a part of a long video was killed; what is finished is kept.
    """
    out = config.out_folder
    check_place(out)
    folder = partial_folder(out)
    new_parents = missing_parents(folder)
    try:
        with writing(folder), locked(folder):
            if is_published(folder, out):  # only its removal was interrupted
                clear(folder)
                if resume:
                    return out
            goes_on = resume and is_begun(folder, config)
            check_output(out, overwrite)
            _check_weights(config)
            if not goes_on:
                begin(folder, config)
            clock = Clock.started(began_s)
            if frames is not None:
                read_stage(config, folder, progress, frames)
            _fill(out, config, folder, overwrite, clock, progress)
    finally:
        remove_empty(new_parents)
    return out


def _fill(
    out: Path, config: RunConfig, folder: Path, overwrite: bool, clock: Clock, progress: Progress
) -> None:
    """Compute the result in the partial folder and move it to its place; an error that the user can mend clears all."""
    try:
        with writing(folder), own_torch():
            finished = _finished(config, folder, clock, progress)
            will_publish(folder, finished)
            publish(finished, out, overwrite)
    except WorkerError:
        raise
    except PlaceTakenError as error:
        raise PlaceTakenError(
            f"{error}; all that was computed is kept: give the same command with --resume when the place is free"
        ) from error
    except Recon4DError:
        clear(folder)
        raise
    clear(folder)


def _check_weights(config: RunConfig) -> None:
    """Refuse a run whose networks have no weights, before anything is written."""
    if config.geometry in NETWORKS:
        _ = config.geometry_weights
        _ = geometry_mono(config)
    if config.flow == "raft":
        _ = config.flow_weights
    needed = masks.needed_backbone(config.masks, config.mask_weights)
    if needed is not None:
        _ = backbone_weights(config, needed)
    _ = config.mask_flow_weights
    if config.refine_weights is not None:
        check_sam2(config.refine_weights)
    refuse_unused(config, needed)


def _finished(config: RunConfig, folder: Path, clock: Clock, progress: Progress) -> Path:
    """The complete result, beside its final place; a long video's is written clip by clip."""
    from recon4d.run.long import write_long  # which uses the stages below for every clip

    if is_long(read_stage(config, folder, progress).num_frames, config.optim):
        return write_long(config, folder, clock, progress)
    return write_all(reconstruct_in(config, folder, progress), folder, clock)


def reconstruct_in(config: RunConfig, folder: Path, progress: Progress) -> Result:
    """All stages; each is stored when it is finished and not computed again after an interruption."""
    options = align_options(config)
    video = read_stage(config, folder, progress)
    given = given_masks(config, video)
    rounds, first_flow, flow = mutual_rounds(config, folder, video, given, progress)
    video = with_prediction(folder, video)
    scene, motion = rounds.scene, rounds.masks
    final = run_stage(
        folder,
        "refine",
        masks.FinalMasks,
        lambda f: finish_masks(config, video, motion, given, progress),
    )
    motion = replace(motion, notices=(*motion.notices, *final.notices))
    outlines = masks.outlines(final.is_dynamic)
    dense = run_stage(
        folder,
        "depth",
        DenseDepth,
        lambda f: densify(
            video, flow, scene, outlines, options.threads, progress, torch.device(options.device)
        ),
    )
    spread = run_stage(
        folder, "spread", DepthSpread, lambda f: depth_spread(scene, dense, final.is_dynamic)
    )
    check = run_stage(
        folder,
        "check",
        Check,
        lambda f: check_flow(video, first_flow, scene, dense, final.is_dynamic, options.threads),
    )
    return Result(
        world_from_cam=np.array(scene.world_from_cam),
        intrinsics=np.array(scene.intrinsics),
        timestamps_s=np.array(video.timestamps_s),
        sources=video.sources,
        images=video.images,
        depth=dense.depth,
        confidence=dense.confidence,
        is_dynamic=final.is_dynamic,
        is_metric=scene.is_metric,
        pose_covariance=scene.pose_covariance,
        depth_std=spread.std(dense, final.is_dynamic, video.sensor_depth is not None),
        run=report(config, folder, video, scene, motion, rounds, check),
        config_toml=to_toml(config.anchored()),
    )


def read_stage(
    config: RunConfig, folder: Path, progress: Progress, frames: Source | None = None
) -> Video:
    """The first stage: the frames, and what the user knows of their cameras."""
    video = run_stage(folder, "read", Video, lambda f: read_frames(config, f, progress, frames))
    if config.focal == "per-frame" and video.intrinsics is not None:
        raise ConfigError(
            f"{config.input} has known intrinsics, and --focal per-frame has every frame's focal length estimated; "
            "leave --focal out, or give the folder of the images alone"
        )
    path = config.poses
    if path is None:
        return video
    poses = run_stage(
        folder,
        "poses",
        KnownPoses,
        lambda _: read_known_poses(path, config.pose_sigma or 0.0, video),
    )
    return replace(video, poses=poses)


def observe(
    config: RunConfig, folder: Path, video: Video, progress: Progress
) -> tuple[masks.Observed, Scene]:
    """The stages between reading and the masks: flow, what a network says of the depth, first cameras and depth."""
    options = align_options(config)
    flow = run_stage(folder, "flow", Flow, lambda f: _flow(config, video, f, progress))
    network = priors.network(config.geometry)
    if network is not None and not network.needs_scene:
        video = _with_answer(config, folder, network, video, flow, None, progress)

    def initialise(_: Path, video: Video = video) -> Scene:
        return initial_scene(video, flow, options, progress)

    scene = run_stage(folder, "initialise", Scene, initialise)
    if network is not None and network.needs_scene:
        video = _with_answer(config, folder, network, video, flow, scene, progress)
    seen = masks.Observed(
        video,
        flow,
        threads=options.threads,
        device=options.device,
        raft_weights=config.mask_flow_weights,
        progress=progress,
        mono=partial(mono_weights, config),
        backbone=partial(backbone_weights, config),
    )
    return seen, scene


def with_prediction(folder: Path, video: Video) -> Video:
    """The video with what a network said of its depth; as it is where none was asked."""
    stored = folder / "geometry"
    if not stored.exists():
        return video
    return replace(video, predicted_depth=load_stage(stored, DepthPrior))


def _with_answer(
    config: RunConfig,
    folder: Path,
    network: priors.Network,
    video: Video,
    flow: Flow,
    scene: Scene | None,
    progress: Progress,
) -> Video:
    """The video with what the network of `--geometry` says of its depth."""

    def ask(own: Path) -> DepthPrior:
        with tempfile.TemporaryDirectory(dir=own) as scratch:
            question = priors.Question(
                video=video,
                flow=flow,
                weights=config.geometry_weights,
                folder=Path(scratch),
                scene=scene,
                device=align_options(config).device,
                progress=progress,
                mono=geometry_mono(config),
            )
            return network.answer(question)

    run_stage(folder, "geometry", DepthPrior, ask)
    return with_prediction(folder, video)


def finish_masks(
    config: RunConfig,
    video: Video,
    motion: MotionMasks,
    given: Bool[np.ndarray, "frames height width"] | None,
    progress: Progress,
) -> masks.FinalMasks:
    """The masks that are written, refined as the options say."""
    options, weights = align_options(config), config.refine_weights
    refine: str | masks.Sam2Options = config.refine
    if weights is not None:
        refine = masks.Sam2Options(weights, config.masks in masks.UNITED, options.device)
    return masks.finish(refine, video, motion, given, options.threads, progress)


def mutual_rounds(
    config: RunConfig,
    folder: Path,
    video: Video,
    given: Bool[np.ndarray, "frames height width"] | None,
    progress: Progress,
) -> tuple[Rounds, Flow, Flow]:
    """The stages from flow to the last round of masks and optimization.

    Returns:
        What the rounds ended in, the flow that was measured first, and the flow of the last round.
    """
    method = masks.method(config.masks, given, config.mask_weights)
    seen, scene = observe(config, folder, video, progress)
    rounds, flow = _loop(config, folder, _with_features(folder, method, seen), scene, method)
    return rounds, seen.flow, flow


def _with_features(folder: Path, method: masks.MaskMethod, seen: masks.Observed) -> masks.Observed:
    """Add what the masks need of the video whatever the scene."""
    compute = method.features
    if compute is None:
        return seen
    found = run_stage(folder, "features", Features, lambda f: compute(seen, f))
    return replace(seen, features=found)


def _loop(
    config: RunConfig,
    folder: Path,
    seen: masks.Observed,
    scene: Scene,
    method: masks.MaskMethod,
) -> tuple[Rounds, Flow]:
    """Masks and flow from the geometry, geometry from both, until the masks settle; also the flow of the last round."""
    options = align_options(config)
    rounds = Rounds.begin(scene)
    while rounds.go_on(config.loop):
        at = len(rounds.history)
        if at == 1:
            seen = replace(seen, flow=_guided(folder, seen, rounds.scene))

        def find(_: Path, seen: masks.Observed = seen, scene: Scene = rounds.scene) -> MotionMasks:
            return method.masks(seen, scene)

        def improve(
            scene: Scene, motion: MotionMasks, at: int = at, seen: masks.Observed = seen
        ) -> Scene:
            def compute(_: Path) -> Scene:
                return optimise(seen.video, seen.flow, scene, motion, options, seen.progress)

            return run_stage(folder, f"optimise_{at}", Scene, compute)

        keeps = at > 0 and (rounds.settled or not method.depends_on_scene)
        motion = rounds.masks if keeps else run_stage(folder, f"masks_{at}", MotionMasks, find)
        rounds = next_round(rounds, motion, improve, seen.flow, is_new_flow=at < 2)
    return rounds, seen.flow


def _guided(folder: Path, seen: masks.Observed, scene: Scene) -> Flow:
    """Flow measured with the help of a scene."""
    return run_stage(
        folder,
        "guided_flow",
        Flow,
        lambda f: guided_flow(seen.video.images, seen.flow, scene, f, seen.threads, seen.progress),
    )


def _flow(config: RunConfig, video: Video, folder: Path, progress: Progress) -> Flow:
    pairs, options = window_pairs(video.num_frames), align_options(config)
    if config.flow == "dis":
        return compute_flow(video.images, pairs, folder, options.threads, progress)
    from recon4d.flow.raft import raft_flow  # loads torch's network parts

    device, weights = torch.device(options.device), config.flow_weights
    return raft_flow(video.images, pairs, folder, weights, device, options.threads, progress)
