"""A run of a long video: clips on their own, keyframes together, clips between the keyframes.

1. The video is divided into clips that overlap (`clips`). Each is aligned on its own (`alone.align_alone`).
2. Keyframes are chosen from the clips' geometry; the clips are stitched at the frames they share, and all keyframes are
   aligned together (`keyframes.align_keyframes`).
3. Each clip is aligned again with its keyframes' pose, depth and focal length held exactly, so that it inherits the
   common scale, and its frames are written (`between.finish_clip`).

Clips are independent of each other: they run in worker processes, in any order. Memory is that of one clip per worker.

Numbers here that name no source were set by hand.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from recon4d.core.progress import Progress
from recon4d.core.sampling import spread_evenly
from recon4d.core.scene import Notice, Scene, Video
from recon4d.core.similarity import concatenated, scene_part
from recon4d.core.stages import stage_costs
from recon4d.optim.assemble import interpolate_lost, lost_notices
from recon4d.optim.given_poses import pose_notices
from recon4d.results.folder import make_frame_folders, read_frame, write_run, write_texts
from recon4d.results.preview import write_preview
from recon4d.results.result import Cameras, Result
from recon4d.run.check import Check
from recon4d.run.executor import executor
from recon4d.run.figures import join_figures
from recon4d.run.finish import Clock, costs, every_cost
from recon4d.run.guide import source_named
from recon4d.run.long.alone import align_alone
from recon4d.run.long.between import finish_clip
from recon4d.run.long.clips import Clip, divide, with_bounds
from recon4d.run.long.kept import (
    ALIGNED,
    ALIGNED_KEYFRAMES,
    ALONE_NOTE,
    BETWEEN_NOTE,
    HISTORY,
    KEY_MOVES,
    KEYFRAMES,
    LOCAL,
    MOTION,
    WRITTEN,
    ClipJob,
    History,
)
from recon4d.run.long.keyframes import align_keyframes
from recon4d.run.long.seams import scale_notices
from recon4d.run.options import align_options
from recon4d.run.overall import Watch
from recon4d.run.repeats import cameras_with_repeats
from recon4d.run.report import report
from recon4d.run.rounds import Round
from recon4d.run.stages import POSES, READ
from recon4d.settings.config import RunConfig
from recon4d.settings.text import to_toml

PREVIEW_FRAMES = 60
"""Frames that the preview is drawn from."""
SAID_FOR_ALL = ("lost_frames", "disconnected", "low_parallax")
"""Notices about single clips that are not passed on: what they mean is known better from the whole video."""


@dataclass(frozen=True)
class Run:
    """A run of a long video."""

    config: RunConfig
    folder: Path
    video: Video
    clips: tuple[Clip, ...]

    def settled(self) -> "Run":
        """The same with each frame in the clip that the keyframes' job gave it to."""
        bounds = KEYFRAMES.load(self.folder).bounds
        return replace(self, clips=with_bounds(self.clips, bounds.tolist()))

    def jobs(self) -> list[ClipJob]:
        """A job for every clip; each computes with one thread."""
        alone = replace(self.config, workers=1, readout=0.0)
        return [ClipJob(alone, self.folder, clip) for clip in self.clips]


def write_long(config: RunConfig, folder: Path, clock: Clock, progress: Progress) -> Path:
    """Compute all stages after reading, and write the result beside its final place, frame by frame.

    Args:
        config: What to do.
        folder: The run's folder, with the stage `read`.
        clock: When the run began.
        progress: Told about every finished clip.

    Returns:
        The folder of the complete result.
    """
    video = READ.load(folder)
    run = Run(config, folder, video, divide(video.num_frames, config.optim))
    make_frame_folders(folder / "result", has_std=True)
    jobs, workers = run.jobs(), min(align_options(config).threads, len(run.clips))
    with executor(config.executor, workers) as pool:
        with progress("clips alone", total=len(jobs) * Watch.PARTS) as counter:
            notes = [job.own / ALONE_NOTE for job in jobs]
            pool.run(align_alone, jobs, Watch(counter, notes))
        with progress("keyframes", total=1) as counter:
            pool.run(align_keyframes, jobs[:1])
            counter.advance()
        run = run.settled()
        jobs = run.jobs()
        with progress("clips between keyframes", total=len(jobs) * Watch.PARTS) as counter:
            notes = [job.own / BETWEEN_NOTE for job in jobs]
            pool.run(finish_clip, jobs, Watch(counter, notes))
    return _write_whole(run, clock)


def _write_whole(run: Run, clock: Clock) -> Path:
    """Write what the result has once."""
    finished, video, scene = run.folder / "result", run.video, _whole_scene(run)
    cameras = Cameras(
        world_from_cam=scene.world_from_cam,
        intrinsics=scene.intrinsics,
        timestamps_s=np.array(video.timestamps_s),
        sources=video.sources,
        size=video.size,
        is_metric=scene.is_metric,
        run=_report(run, scene),
        config_toml=to_toml(run.config.anchored()),
        pose_covariance=scene.pose_covariance,
        overlay=None if video.overlay is None else video.overlay.area,
    )
    cameras = cameras_with_repeats(cameras, video.repeats)
    begun_s = time.monotonic()
    _write_preview(cameras, finished)
    write_texts(cameras, finished)
    stages, outside = every_cost(run.folder) | _clip_costs(run), time.monotonic() - begun_s
    told = cameras.run | costs(stages, clock, {"preview": outside})
    write_run(told, cameras.is_metric, finished)
    return finished


def _whole_scene(run: Run) -> Scene:
    """Cameras of the whole video without samples; lost frames move evenly between the others."""
    parts, covariances = [], []
    for clip in run.clips:
        scene = ALIGNED.load(clip.folder(run.folder))
        own = np.arange(clip.own_first, clip.own_last) - clip.first
        slim = replace(
            scene,
            samples_px=scene.samples_px[:, :0],
            inverse_depth=scene.inverse_depth[:, :0],
            inverse_depth_std=scene.inverse_depth_std[:, :0],
        )
        parts.append(scene_part(slim, own))
        covariances.append(_own_covariance(scene, clip))
    scene, covariance = concatenated(parts), np.concatenate(covariances)
    covariance[0] = 0
    poses = interpolate_lost(scene.world_from_cam, scene.component >= 0, run.video.timestamps_s)
    notices = _key_notices(run)
    return replace(
        scene,
        world_from_cam=poses,
        pose_covariance=covariance,
        focal_std=KEY_MOVES.load(run.folder).focal_std,
        notices=(
            *notices,
            *lost_notices(scene.component),
            *_pose_notices(run, notices),
            *scale_notices(run.folder, run.clips),
        ),
    )


def _own_covariance(scene: Scene, clip: Clip) -> Float64[np.ndarray, "frames 6 6"]:
    """Of the frames that a clip writes; infinite where the frame before is not in it."""
    own = np.arange(clip.own_first, clip.own_last) - clip.first
    covariance = np.full((len(own), 6, 6), np.inf)
    if scene.pose_covariance is not None:
        covariance[own > 0] = scene.pose_covariance[own[own > 0]]
    return covariance


def _key_notices(run: Run) -> tuple[Notice, ...]:
    """What the keyframes say about the whole."""
    keys = ALIGNED_KEYFRAMES.load(run.folder)
    return tuple(n for n in keys.notices if n.code in ("no_parallax", "low_parallax"))


def _pose_notices(run: Run, found: tuple[Notice, ...]) -> tuple[Notice, ...]:
    """What became of given poses, with the frames of the whole video."""
    if run.config.poses is None:
        return ()
    given = POSES.load(run.folder)
    keys = ALIGNED_KEYFRAMES.load(run.folder)
    used = None
    if keys.is_pose_trusted is not None:
        frames = KEYFRAMES.load(run.folder).frames
        is_used = np.zeros(len(given.is_given), bool)
        is_used[frames[keys.is_pose_trusted]] = True
        used = replace(given, is_given=is_used)
    return pose_notices(given, used, any(n.code == "no_parallax" for n in found))


def _report(run: Run, scene: Scene) -> dict[str, object]:
    """The content of run.json: the rounds of all clips together, and what is particular to long videos."""
    histories = [HISTORY.load(clip.folder(run.folder)) for clip in run.clips]
    keyframes = KEYFRAMES.load(run.folder)
    notices = _clip_notices(run, histories)
    scene = replace(scene, notices=(*scene.notices, *keyframes.notices))
    rounds, check = _mean_rounds(histories), _check(run)
    content = report(run.config, run.folder, run.video, scene, rounds, notices, check)

    def named(frames: Iterable[int]) -> list[int]:
        return [_first(frame, run.video) for frame in frames]

    clips = [
        {"frames": named((clip.first, clip.last - 1)), "rounds": list(history.rounds)}
        for clip, history in zip(run.clips, histories, strict=True)
    ]
    return content | {
        "clips": clips,
        "keyframes": named(keyframes.frames.tolist()),
        "loops": [named(pair) for pair in keyframes.loops.tolist()],
    }


def _mean_rounds(histories: list[History]) -> tuple[Round, ...]:
    """Each round's mean over the clips that ran it; kept where most of them kept it."""
    out = []
    for at in range(max(len(history.rounds) for history in histories)):
        ran = [history.rounds[at] for history in histories if len(history.rounds) > at]
        mean = {name: float(np.mean([entry[name] for entry in ran])) for name in ran[0]}
        kept = mean.pop("kept") > 0.5
        out.append(Round(**mean, kept=kept))
    return tuple(out)


def _clip_notices(run: Run, histories: list[History]) -> tuple[Notice, ...]:
    """Notices of single clips with the frames of the whole video; the same of several clips become one."""
    found: dict[str, list[tuple[Clip, Notice]]] = {}
    for clip, history in zip(run.clips, histories, strict=True):
        own = clip.folder(run.folder)
        local = source_named(LOCAL.load(own).notices, run.config)
        motion = MOTION.load(own).notices
        written = WRITTEN.load(own).notices
        for notice in (*local, *motion, *history.notices, *written):
            if notice.code not in SAID_FOR_ALL:
                found.setdefault(notice.code, []).append((clip, notice))
    return tuple(_merged(code, entries, run.video) for code, entries in found.items())


def _merged(code: str, entries: list[tuple[Clip, Notice]], video: Video) -> Notice:
    frames: set[int] = set()
    for clip, notice in entries:
        local = notice.frames or range(clip.last - clip.first)
        frames |= {clip.first + frame for frame in local}
    clip, first = entries[0]
    others = f" ({len(entries) - 1} other clips: alike)" if len(entries) > 1 else ""
    begin, end = (_first(frame, video) for frame in (clip.first, clip.last - 1))
    message = f"Frames {begin} to {end}: {first.message}{others}"
    return Notice(code, message, tuple(sorted(frames)))


def _first(frame: int, video: Video) -> int:
    """The first frame of the input, as the result has them, that shows a frame of the video."""
    return frame if video.repeats is None else video.repeats.first(frame)


def _check(run: Run) -> Check:
    """Median over the clips of their residuals, and the figures of all frames."""
    parts = [WRITTEN.load(clip.folder(run.folder)).check for clip in run.clips]
    offsets = dict.fromkeys(offset for part in parts for offset in part.residual_px)
    residual_px = {
        offset: float(np.median([p.residual_px[offset] for p in parts if offset in p.residual_px]))
        for offset in offsets
    }
    return Check(residual_px, join_figures([part.figures for part in parts]))


def _clip_costs(run: Run) -> dict[str, dict[str, float]]:
    """Seconds of every stage over all clips, and the largest memory of a worker by then.

    `local` holds what other stages computed: it is left out.
    """
    total: dict[str, dict[str, float]] = {}
    for clip in run.clips:
        for name, cost in stage_costs(clip.folder(run.folder)).items():
            if name == "local":
                continue
            sum_of = total.setdefault(f"clip_{name}", {"seconds": 0.0, "peak_rss_mb": 0.0})
            sum_of["seconds"] += cost["seconds"]
            sum_of["peak_rss_mb"] = max(sum_of["peak_rss_mb"], cost["peak_rss_mb"])
    return total


def _write_preview(cameras: Cameras, folder: Path) -> None:
    """Draw the preview from some frames, read back."""
    chosen = spread_evenly(len(cameras.sources), PREVIEW_FRAMES)
    frames = [read_frame(folder, int(index), cameras.size) for index in chosen]
    some = Result(
        world_from_cam=cameras.world_from_cam[chosen],
        intrinsics=cameras.intrinsics[chosen],
        timestamps_s=cameras.timestamps_s[chosen],
        sources=tuple(cameras.sources[index] for index in chosen),
        images=np.stack([frame.image for frame in frames]),
        depth=np.stack([frame.depth for frame in frames]),
        confidence=np.stack([frame.confidence for frame in frames]),
        is_dynamic=np.stack([frame.is_dynamic for frame in frames]),
        is_metric=cameras.is_metric,
        run=cameras.run,
    )
    write_preview(some, folder / "preview.png", chosen.tolist())
