"""The first job of every clip of a long video: cameras, depth and masks in a world of its own."""

import dataclasses

import numpy as np

from recon4d.core.errors import DegenerateError
from recon4d.core.parallel import one_torch_thread
from recon4d.core.sampling import sample_at, sample_shape
from recon4d.core.scene import MotionMasks, Scene, Video
from recon4d.optim.objective.problem import sample_positions
from recon4d.run.long.kept import ALONE_NOTE, HISTORY, LOCAL, MOTION, ClipJob, History
from recon4d.run.methods import Methods
from recon4d.run.overall import noted, noting_progress, rounds_plan
from recon4d.run.reading import given_masks
from recon4d.run.reconstruct import mutual_rounds


def align_alone(job: ClipJob) -> None:
    """Align a clip without the others: cameras, depth and masks in a world of its own."""
    with one_torch_thread():
        LOCAL.run(job.own, lambda f: _align_alone(job))
        noted(job.own / ALONE_NOTE)


def _align_alone(job: ClipJob) -> Scene:
    video = job.video()
    given = given_masks(job.config, video)
    try:
        progress = noting_progress(job.own / ALONE_NOTE, rounds_plan(job.config.loop))
        methods = Methods.of(job.config)
        rounds, _, _ = mutual_rounds(job.config, methods, job.own, video, given, progress)
    except DegenerateError:
        MOTION.run(job.own, lambda f: _no_motion(video))
        HISTORY.run(job.own, lambda f: History(()))
        return _lost(video, job.config.optim.grid_px)
    history = tuple(dataclasses.asdict(entry) for entry in rounds.history)
    MOTION.run(job.own, lambda f: rounds.masks)
    HISTORY.run(job.own, lambda f: History(history, rounds.notices))
    return rounds.scene


def _no_motion(video: Video) -> MotionMasks:
    shape = (video.num_frames, *sample_shape(video.size))
    return MotionMasks(np.zeros(shape, np.float32))


def _lost(video: Video, grid_px: int) -> Scene:
    """The scene of a clip without texture: no frame has a pose."""
    samples = sample_at(sample_positions(video.images, grid_px))
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
