"""The two jobs of every clip of a long video: align it on its own, and finish it between the common keyframes."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from recon4d import masks
from recon4d.core.errors import DegenerateError
from recon4d.core.parallel import one_torch_thread
from recon4d.core.progress import Progress
from recon4d.core.scene import FLOW_STRIDE, Flow, MotionMasks, Notice, Scene, Video
from recon4d.core.similarity import take
from recon4d.core.stages import load_stage, run_stage
from recon4d.optim.align import pose_covariance
from recon4d.optim.between import moves_between, optimise_between
from recon4d.optim.dense import densify
from recon4d.optim.objective.problem import sample_positions, samples_to_px
from recon4d.optim.solve.jackknife import HeldMoves, Moves
from recon4d.optim.stitch.pieces import carry
from recon4d.results.folder import Frame, write_frame
from recon4d.run import pipeline
from recon4d.run.long.clips import Clip
from recon4d.run.options import align_options
from recon4d.run.overall import BETWEEN, noted, noting_progress, rounds_plan
from recon4d.run.reading import given_masks
from recon4d.run.report import check_flow
from recon4d.run.spread import depth_spread
from recon4d.settings.config import RunConfig

ALONE_NOTE, BETWEEN_NOTE = "alone.share", "between.share"
"""Files in a clip's folder that say how far its two jobs are."""


@dataclass(frozen=True)
class ClipJob:
    """What a worker needs to know."""

    config: RunConfig
    """With one worker: the job is one of many."""
    folder: Path
    """Of the run."""
    clip: Clip

    @property
    def own(self) -> Path:
        """Where the clip's stages are stored."""
        return self.clip.folder(self.folder)

    def video(self) -> Video:
        """The clip's frames, mapped from the run's folder, with what a network said of their depth."""
        seen = self.clip.of(load_stage(self.folder / "read", Video))
        return pipeline.with_prediction(self.own, seen)


@dataclass(frozen=True)
class History:
    """The rounds of a clip, as in run.json."""

    rounds: tuple[dict[str, float | bool], ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Keyframes:
    """The keyframes that every clip is aligned to."""

    frames: Int64[np.ndarray, " keyframes"]
    """Indices in the whole video, ascending."""
    bounds: Int64[np.ndarray, " bounds"]
    """Frames bounds[k] to bounds[k + 1] - 1 belong to clip k."""
    pieces: Int64[np.ndarray, "pieces 3"]
    """Clip, component within the clip, and component in the whole video of every piece of every clip."""
    main: int
    """The component in the whole video that has the most frames: the others are placed by guess."""
    loops: Int64[np.ndarray, "pairs 2"]
    """Frames of the whole video that show the same place again."""
    notices: tuple[Notice, ...] = ()

    def components(self, clip: Clip, scene: Scene) -> Int64[np.ndarray, " frames"]:
        """Component in the whole video of each frame of a clip."""
        out = np.full(len(scene.component), -1)
        for index, own, whole in self.pieces:
            if index == clip.index:
                out[scene.component == own] = whole
        return out


@dataclass(frozen=True)
class Written:
    """What finishing a clip leaves besides the files of its frames."""

    residual_px: dict[str, float]
    """As `recon4d.run.report.Check`."""
    notices: tuple[Notice, ...] = ()
    """Of the refinement of the masks; frames of the clip."""


def align_alone(job: ClipJob) -> None:
    """Align a clip without the others: cameras, depth and masks in a world of its own."""
    with one_torch_thread():
        run_stage(job.own, "local", Scene, lambda f: _align_alone(job))
        noted(job.own / ALONE_NOTE)


def _align_alone(job: ClipJob) -> Scene:
    video = job.video()
    given = given_masks(job.config, video)
    try:
        progress = noting_progress(job.own / ALONE_NOTE, rounds_plan(job.config.loop))
        rounds, _, _ = pipeline.mutual_rounds(job.config, job.own, video, given, progress)
    except DegenerateError:
        run_stage(job.own, "motion", MotionMasks, lambda f: _no_motion(video))
        run_stage(job.own, "history", History, lambda f: History(()))
        return _lost(video, job.config.optim.grid_px)
    history = tuple(dataclasses.asdict(entry) for entry in rounds.history)
    run_stage(job.own, "motion", MotionMasks, lambda f: rounds.masks)
    run_stage(job.own, "history", History, lambda f: History(history, rounds.notices))
    return rounds.scene


def _no_motion(video: Video) -> MotionMasks:
    shape = (video.num_frames, video.size[1] // FLOW_STRIDE, video.size[0] // FLOW_STRIDE)
    return MotionMasks(np.zeros(shape, np.float32))


def _lost(video: Video, grid_px: int) -> Scene:
    """The scene of a clip without texture: no frame has a pose."""
    samples = samples_to_px(sample_positions(video.images, grid_px))
    count, width, height = video.num_frames, *video.size
    usual = np.array([max(width, height)] * 2 + [width / 2, height / 2], np.float64)
    return Scene(
        world_from_cam=np.repeat(np.eye(4)[None], count, axis=0),
        intrinsics=np.repeat(usual[None], count, axis=0),
        samples_px=samples,
        inverse_depth=np.ones(samples.shape[:2], np.float32),
        inverse_depth_std=np.full(samples.shape[:2], np.inf, np.float32),
        is_posed=np.zeros(count, bool),
        component=np.full(count, -1),
        is_metric=video.is_metric,
    )


def clip_flow(own: Path) -> Flow:
    """The flow of a clip's last round."""
    guided = own / "guided_flow"
    return load_stage(guided if guided.exists() else own / "flow", Flow)


def finish_clip(job: ClipJob) -> None:
    """Align a clip between the keyframes, refine its masks, find its depth, and write its frames."""
    with one_torch_thread():
        progress = noting_progress(job.own / BETWEEN_NOTE, BETWEEN)
        run_stage(job.own, "aligned", Scene, lambda f: _align_between(job, progress))
        run_stage(job.own, "written", Written, lambda f: _write(job, progress))
        noted(job.own / BETWEEN_NOTE)


def _align_between(job: ClipJob, progress: Progress) -> Scene:
    video, clip = job.video(), job.clip
    local = load_stage(job.own / "local", Scene)
    keyframes = load_stage(job.folder / "keyframes", Keyframes)
    key_scene = load_stage(job.folder / "align_keyframes", Scene)
    component = keyframes.components(clip, local)
    local = dataclasses.replace(local, component=component, pose_covariance=None, notices=())
    inside = (keyframes.frames >= clip.first) & (keyframes.frames < clip.last)
    inside[inside] = component[keyframes.frames[inside] - clip.first] >= 0
    keys = keyframes.frames[inside] - clip.first
    local = dataclasses.replace(local, is_posed=component == keyframes.main)
    if not len(keys):
        nearest = np.abs(keyframes.frames - (clip.first + clip.last) / 2).argmin()
        intrinsics = np.repeat(key_scene.intrinsics[nearest][None], len(component), axis=0)
        return dataclasses.replace(local, intrinsics=intrinsics)
    scene = carry(local, keys, take(key_scene, np.flatnonzero(inside)), video.timestamps_s)
    motion = load_stage(job.own / "motion", MotionMasks)
    held = np.zeros(len(component), bool)
    held[keys if job.config.optim.keyframes == "fixed" else keys[:1]] = True
    options, flow = align_options(job.config), clip_flow(job.own)
    scene = optimise_between(video, flow, scene, motion, held, options, progress)
    of_keys = load_stage(job.folder / "key_moves", Moves).of(np.flatnonzero(inside)[held[keys]])
    moves = moves_between(video, flow, scene, motion, HeldMoves(held, of_keys), options)
    return dataclasses.replace(scene, pose_covariance=pose_covariance(moves, scene))


def shifted(notices: tuple[Notice, ...], start: int) -> tuple[Notice, ...]:
    """Notices about frames that are counted from another one."""
    return tuple(
        dataclasses.replace(n, frames=tuple(start + frame for frame in n.frames)) for n in notices
    )


def _write(job: ClipJob, progress: Progress) -> Written:
    video, scene = job.video(), load_stage(job.own / "aligned", Scene)
    flow, motion = clip_flow(job.own), load_stage(job.own / "motion", MotionMasks)
    own = range(job.clip.own_first - job.clip.first, job.clip.own_last - job.clip.first)
    part = slice(own.start, own.stop)
    seen = dataclasses.replace(job.clip, first=job.clip.own_first, last=job.clip.own_last).of(
        load_stage(job.folder / "read", Video)
    )
    given = given_masks(job.config, seen)
    mine = dataclasses.replace(motion, probability=np.array(motion.probability[part]))
    final = pipeline.finish_masks(job.config, seen, mine, given, progress)
    is_dynamic = final.is_dynamic
    outlines = np.array(motion.probability)
    outlines[part] = masks.outlines(is_dynamic).probability
    device = torch.device(align_options(job.config).device)
    dense = densify(video, flow, scene, MotionMasks(outlines), 1, progress, device, own)
    cameras = take(scene, np.array(own))
    spread = depth_spread(cameras, dense, is_dynamic)
    std = spread.std(dense, is_dynamic, seen.sensor_depth is not None)
    for at, frame in enumerate(range(job.clip.own_first, job.clip.own_last)):
        content = Frame(
            seen.images[at], dense.depth[at], dense.confidence[at], is_dynamic[at], std[at]
        )
        write_frame(job.folder / "result", frame, content)
    first_flow = load_stage(job.own / "flow", Flow)
    first_flow = dataclasses.replace(first_flow, edges=first_flow.edges - own.start)
    check = check_flow(seen, first_flow, cameras, dense, is_dynamic, 1)
    return Written(check.residual_px, shifted(final.notices, own.start))
