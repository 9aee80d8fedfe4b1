"""The two jobs of every clip of a long video: align it on its own, and finish it between the common keyframes."""

import dataclasses

import numpy as np

from recon4d.core.parallel import one_torch_thread
from recon4d.core.progress import Progress
from recon4d.core.scene import MotionMasks, Notice, Scene
from recon4d.core.similarity import scene_part
from recon4d.masks import Seen
from recon4d.masks.given import outlines
from recon4d.optim.align import pose_covariance
from recon4d.optim.between import moves_between, optimise_between, setting_between
from recon4d.optim.dense import densify
from recon4d.optim.stitch.pieces import carry
from recon4d.results.folder import Frame, write_frame
from recon4d.run.check import check_flow
from recon4d.run.guide import in_metres, with_guide
from recon4d.run.long.kept import (
    ALIGNED,
    ALIGNED_KEYFRAMES,
    BETWEEN_NOTE,
    KEY_MOVES,
    KEYFRAMES,
    LOCAL,
    MOTION,
    WRITTEN,
    ClipJob,
    Written,
)
from recon4d.run.methods import Methods
from recon4d.run.options import align_options
from recon4d.run.overall import BETWEEN, noted, noting_progress
from recon4d.run.reading import given_masks
from recon4d.run.reconstruct import finish_masks
from recon4d.run.report import in_input
from recon4d.run.shutter import last_flow
from recon4d.run.spread import depth_spread
from recon4d.run.stages import FLOW, READ


def finish_clip(job: ClipJob) -> None:
    """Align a clip between the keyframes, refine its masks, find its depth, and write its frames."""
    with one_torch_thread():
        progress = noting_progress(job.own / BETWEEN_NOTE, BETWEEN)
        ALIGNED.run(job.own, lambda f: _in_unit(job, _align_between(job, progress)))
        WRITTEN.run(job.own, lambda f: _write(job, progress))
        noted(job.own / BETWEEN_NOTE)


def _in_unit(job: ClipJob, scene: Scene) -> Scene:
    """A clip's scene, in metres where the user's depth is: the keyframes tell the scale of all clips."""
    key_scene, keyframes = ALIGNED_KEYFRAMES.load(job.folder), KEYFRAMES.load(job.folder)
    methods = Methods.of(job.config)
    return in_metres(methods, READ.load(job.folder), scene, key_scene, keyframes.frames)


def _align_between(job: ClipJob, progress: Progress) -> Scene:
    video, clip = job.video(), job.clip
    local = LOCAL.load(job.own)
    keyframes = KEYFRAMES.load(job.folder)
    key_scene = ALIGNED_KEYFRAMES.load(job.folder)
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
    scene = carry(local, keys, scene_part(key_scene, np.flatnonzero(inside)), video.timestamps_s)
    motion = MOTION.load(job.own)
    held = np.zeros(len(component), bool)
    held[keys if job.config.optim.keyframes == "fixed" else keys[:1]] = True
    options, flow = align_options(job.config), last_flow(job.own)
    setting = setting_between(video, flow, scene, motion, held, options)
    scene = optimise_between(setting, scene, progress)
    of_keys = KEY_MOVES.load(job.folder).of(np.flatnonzero(inside)[held[keys]])
    moves = moves_between(setting, scene, of_keys)
    return dataclasses.replace(scene, pose_covariance=pose_covariance(moves, scene))


def shifted(notices: tuple[Notice, ...], start: int) -> tuple[Notice, ...]:
    """Notices about frames that are counted from another one."""
    return tuple(
        dataclasses.replace(n, frames=tuple(start + frame for frame in n.frames)) for n in notices
    )


def _write(job: ClipJob, progress: Progress) -> Written:
    video, scene = job.video(), ALIGNED.load(job.own)
    flow, motion = last_flow(job.own), MOTION.load(job.own)
    own = range(job.clip.own_first - job.clip.first, job.clip.own_last - job.clip.first)
    part = slice(own.start, own.stop)
    whole = READ.load(job.folder)
    seen = dataclasses.replace(job.clip, first=job.clip.own_first, last=job.clip.own_last).of(whole)
    given = given_masks(job.config, seen)
    mine = dataclasses.replace(motion, probability=np.array(motion.probability[part]))
    methods = Methods.of(job.config)
    cameras = scene_part(scene, np.array(own))
    final = finish_masks(methods, Seen(seen, flow, None, 1, progress), cameras, mine, given)
    is_dynamic = final.is_dynamic
    moving = np.array(motion.probability)
    moving[part] = outlines(is_dynamic).probability
    video = with_guide(methods, job.own, video, flow, scene, MotionMasks(moving))
    guided = () if video.predicted_depth is None else video.predicted_depth.notices
    options = dataclasses.replace(align_options(job.config), threads=1)  # a process of its own
    dense = densify(video, flow, scene, MotionMasks(moving), options, progress, own)
    spread = depth_spread(cameras, dense, is_dynamic)
    std = spread.std(dense, is_dynamic, seen.sensor_depth is not None)
    for at, frame in enumerate(range(job.clip.own_first, job.clip.own_last)):
        content = Frame(
            seen.pictures[at], dense.depth[at], dense.confidence[at], is_dynamic[at], std[at]
        )
        for place in in_input((frame,), whole):
            write_frame(job.folder / "result", place, content)
    first_flow = FLOW.load(job.own)
    first_flow = dataclasses.replace(first_flow, edges=first_flow.edges - own.start)
    check = check_flow(seen, first_flow, cameras, dense, is_dynamic, methods.flow, 1)
    return Written(check, (*shifted(final.notices, own.start), *guided))
