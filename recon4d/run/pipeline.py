"""A run from its beginning to its end: places are checked, stages computed or found, the result is published."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from recon4d.core.errors import ConfigError, Recon4DError, WorkerError
from recon4d.core.files import writing
from recon4d.core.parallel import own_torch
from recon4d.core.progress import Progress, no_progress
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
from recon4d.run.executor import check_executor
from recon4d.run.finish import Clock, add_cost, write_all
from recon4d.run.lens import without_lens
from recon4d.run.long import write_long
from recon4d.run.long.clips import is_long
from recon4d.run.methods import Methods
from recon4d.run.options import threads
from recon4d.run.reconstruct import read_stage, reconstruct_in
from recon4d.run.resume import begin, clear, is_begun, is_published, locked, will_publish
from recon4d.settings.config import RunConfig
from recon4d.tracks import Wanted, add_motion


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
        with own_torch(), writing(folder), locked(folder):
            if is_published(folder, out):  # only its removal was interrupted
                clear(folder)
                if resume:
                    return out
            goes_on = resume and is_begun(folder, config)
            check_output(out, overwrite)
            methods = Methods.of(config)  # refuses what cannot be
            check_executor(config.executor)
            if not goes_on:
                begin(folder, config)
            clock = Clock.started(began_s)
            if frames is not None:
                read_stage(config, folder, progress, frames)
            _fill(out, _Job(config, methods, folder, clock, progress, frames), overwrite)
    finally:
        remove_empty(new_parents)
    return out


@dataclass(frozen=True)
class _Job:
    """A run whose places have been checked."""

    config: RunConfig
    methods: Methods
    folder: Path
    """Where its stages are stored."""
    clock: Clock
    progress: Progress
    frames: Source | None
    """Frames in memory."""


def _fill(out: Path, job: _Job, overwrite: bool) -> None:
    """Compute the result in the partial folder and move it to its place; an error that the user can mend clears all."""
    folder = job.folder
    try:
        with writing(folder):
            finished = _finished(job)
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


def _refuse_for_clips(config: RunConfig, frames: int) -> None:
    """Refuse options that clips alone look at, where the video is aligned in one piece."""
    given = {"--executor ray": config.executor != "local"}
    given["optim.keyframes=free"] = config.optim.keyframes != "fixed"
    for option in (name for name, is_given in given.items() if is_given):
        raise ConfigError(
            f"{option} is for the clips of a long video, and {frames} frames are aligned in one piece (up to "
            f"{config.optim.whole_frames}); leave it out, or lower optim.whole_frames"
        )


def _refuse_for_whole(config: RunConfig, frames: int) -> None:
    """Refuse options that clips do not look at, where the video is divided into clips."""
    if config.readout:
        raise ConfigError(
            f"--readout {config.readout:g} is for videos of up to {config.optim.whole_frames} frames, and {frames} are "
            "aligned in clips, with a shutter that is open at once; raise optim.whole_frames, or leave it out"
        )


def _finished(job: _Job) -> Path:
    """The complete result, beside its final place; a long video's is written clip by clip."""
    config, folder = job.config, job.folder
    frames = read_stage(config, folder, job.progress).num_frames
    is_whole = not is_long(frames, config.optim)
    (_refuse_for_clips if is_whole else _refuse_for_whole)(config, frames)
    own = without_lens(config, job.methods, folder, job.progress, job.frames)
    if is_whole:
        result = reconstruct_in(config, job.methods, own, job.progress)
        finished = write_all(result, own, job.clock)
    else:
        finished = write_long(config, own, job.clock, job.progress)
    _add_motion(job, finished)
    return _in_place(finished, folder)


def _add_motion(job: _Job, finished: Path) -> None:
    """What is asked for of followed points and objects, into the finished result: of clips, too."""
    config = job.config
    wanted = Wanted(config.tracks, None, config.objects, config.scene_flow)
    if not wanted.anything:
        return
    begun_s = time.monotonic()
    add_motion(finished, wanted, job.methods.flow, threads(config), job.progress)
    add_cost(finished, "motion", time.monotonic() - begun_s)


def _in_place(finished: Path, folder: Path) -> Path:
    """Move a result to where the run's folder has it, wherever its stages are."""
    wanted = folder / finished.name
    if finished != wanted:
        shutil.rmtree(wanted, ignore_errors=True)
        os.replace(finished, wanted)
    return wanted
