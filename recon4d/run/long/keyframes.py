"""The job between the two passes over the clips of a long video: align the keyframes of all clips together.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from recon4d.core.arrays import create_array
from recon4d.core.errors import DegenerateError
from recon4d.core.parallel import one_torch_thread
from recon4d.core.scene import Flow, KnownPoses, MotionMasks, Scene, Video
from recon4d.core.similarity import Similarity
from recon4d.flow import FlowMethod, flow_method, window_pairs
from recon4d.flow.guided import guided_pairs, overlapping
from recon4d.flow.overlay import without_overlay
from recon4d.flow.store import store_flow
from recon4d.flow.unrelated import why_unrelated
from recon4d.optim.align import optimise, place_by_poses, scene_moves
from recon4d.optim.solve.jackknife import Moves
from recon4d.optim.stitch.keyframes import choose_keyframes
from recon4d.optim.stitch.pieces import Piece, Placement, key_scene_of, link, pieces_of, place
from recon4d.optim.triangulate import triangulate
from recon4d.optim.unrelated import unrelated_frames
from recon4d.run.long.clips import Clip, divide, settled
from recon4d.run.long.kept import (
    ALIGNED_KEYFRAMES,
    KEY_FLOW,
    KEY_MOVES,
    KEY_VIDEO,
    KEYFRAMES,
    LOCAL,
    MOTION,
    ClipJob,
    Keyframes,
)
from recon4d.run.long.loops import KeyMaps, find_loops, place_with_loops
from recon4d.run.options import align_options, resources
from recon4d.run.shutter import last_flow
from recon4d.run.stages import POSES, READ

KEY_OFFSETS = (1, 2, 3, 5, 8)
"""Places in the list of keyframes between which flow is measured: neighbours, and skips while the pictures overlap."""


@dataclass(frozen=True)
class _Locals:
    """What the first pass left, and the keyframes that were chosen from it."""

    job: ClipJob
    video: Video
    poses: KnownPoses | None
    """Given ones, of the whole video; their frames are keyframes."""
    clips: tuple[Clip, ...]
    scenes: list[Scene]
    pieces: list[Piece]
    frames: Int64[np.ndarray, " keyframes"]
    """Keyframes, ascending."""
    clip_of: Int64[np.ndarray, " keyframes"]
    """The clip that each keyframe's depth and masks come from."""
    piece_of: Int64[np.ndarray, " keyframes"]

    def scene(self, placement: Placement) -> Scene:
        """The keyframes, where the pieces are placed."""
        keys = list(zip(self.piece_of.tolist(), self.frames.tolist(), strict=True))
        own_focals = any(scene.zooms for scene in self.scenes)
        return key_scene_of(self.pieces, placement, keys, own_focals)


def align_keyframes(job: ClipJob) -> None:
    """Choose keyframes and find where they are; `job.clip` is not looked at, the stages lie in the run's folder."""
    with one_torch_thread():
        known, method = _collect(job), flow_method(job.config.flow, resources(job.config))
        video = KEY_VIDEO.run(job.folder, lambda f: _key_video(known, f))
        maps, links = _key_maps(known), link(known.pieces)
        chained = place(known.pieces, links)
        loops, more = find_loops(
            video,
            known.scene(_unmoved(chained)),
            known.scene(chained),
            known.piece_of,
            maps,
            KEY_OFFSETS[-1] + 1,
            method,
        )
        placement = place_with_loops(known.pieces, links, more)
        pieces = zip(known.pieces, placement.group, strict=True)
        names = np.array([(piece.clip, piece.component, group) for piece, group in pieces])
        keyframes = Keyframes(
            frames=known.frames,
            bounds=np.array([0, *(clip.own_last for clip in known.clips)]),
            pieces=names,
            main=_largest(known.pieces, placement),
            loops=known.frames[loops],
            notices=placement.notices,
        )
        KEYFRAMES.run(job.folder, lambda f: keyframes)
        _align(known, video, placement, maps, loops, method)


def _largest(pieces: list[Piece], placement: Placement) -> int:
    """The group with the most frames."""
    groups = range(int(placement.group.max()) + 1)
    frames = [
        np.concatenate(
            [p.frames for p, g in zip(pieces, placement.group, strict=True) if g == group]
        )
        for group in groups
    ]
    return int(np.argmax([len(np.unique(own)) for own in frames]))


def _unmoved(placement: Placement) -> Placement:
    """Every piece in its own world."""
    still = tuple(Similarity.identity() for _ in placement.world_from_piece)
    return replace(placement, world_from_piece=still)


def _collect(job: ClipJob) -> _Locals:
    video = READ.load(job.folder)
    poses = None if job.config.poses is None else POSES.load(job.folder)
    clips = divide(video.num_frames, job.config.optim)
    scenes = [LOCAL.load(clip.folder(job.folder)) for clip in clips]
    clips = settled(clips, [scene.component >= 0 for scene in scenes])
    pieces: list[Piece] = []
    for clip, scene in zip(clips, scenes, strict=True):
        pieces += pieces_of(clip.index, clip.first, scene)
    if not pieces:
        raise DegenerateError(f"{unrelated_frames(video)}: {why_unrelated(video)}")
    is_given = np.zeros(video.num_frames, bool) if poses is None else poses.is_given
    found = {}
    for clip, scene in zip(clips, scenes, strict=True):
        # one frame beyond its own: where it meets the next clip, which then has a keyframe there, too
        end = min(clip.own_last + 1, clip.last)
        wanted = is_given[clip.first : clip.last]
        own = choose_keyframes(
            scene, clip.own_first - clip.first, end - clip.first, video.size, wanted
        )
        found.update({int(frame) + clip.first: clip.index for frame in own})
    frames = np.array(sorted(found))
    clip_of = np.array([found[frame] for frame in frames.tolist()])
    piece_of = [
        _piece_of(pieces, *at) for at in zip(clip_of.tolist(), frames.tolist(), strict=True)
    ]
    return _Locals(job, video, poses, clips, scenes, pieces, frames, clip_of, np.array(piece_of))


def _piece_of(pieces: list[Piece], clip: int, frame: int) -> int:
    return next(at for at, p in enumerate(pieces) if p.clip == clip and frame in p.frames)


def _align(
    known: _Locals,
    video: Video,
    placement: Placement,
    maps: KeyMaps,
    loops: Int64[np.ndarray, "pairs 2"],
    method: FlowMethod,
) -> Scene:
    """Flow between keyframes, measured with the help of the stitched geometry, then one batch optimization."""
    folder, options = known.job.folder, align_options(known.job.config)
    start, inverse_depth = known.scene(placement), maps.common(placement, known.piece_of)
    pairs = np.concatenate((window_pairs(len(known.frames), KEY_OFFSETS), loops))
    pairs = overlapping(start, inverse_depth, pairs)
    flow = KEY_FLOW.run(folder, lambda f: _key_flow(video, pairs, start, inverse_depth, method, f))
    video = replace(video, poses=_key_poses(known))

    def improve(_: Path) -> Scene:
        if not len(pairs):
            return start
        placed = start
        if video.poses is not None:
            placed = place_by_poses(video, flow, start, maps.motion, options)
        return optimise(video, flow, placed, maps.motion, options)

    scene = ALIGNED_KEYFRAMES.run(folder, improve)

    def moves(_: Path) -> Moves:
        if not len(pairs):
            return Moves.unknown(len(known.frames))
        return scene_moves(video, flow, scene, maps.motion, options)

    KEY_MOVES.run(folder, moves)
    return scene


def _key_poses(known: _Locals) -> KnownPoses | None:
    """Given poses of keyframes; None where there are none."""
    given, frames = known.poses, known.frames
    if given is None or not given.is_given[frames].any():
        return None
    return replace(
        given, world_from_cam=given.world_from_cam[frames], is_given=given.is_given[frames]
    )


def _key_video(known: _Locals, folder: Path) -> Video:
    """The keyframes as a video of their own."""
    video, frames = known.video, known.frames
    images = create_array(folder / "images.npy", np.uint8, (len(frames), *video.images.shape[1:]))
    for at, frame in enumerate(frames):
        images[at] = video.images[frame]
    return replace(
        video,
        images=images,
        timestamps_s=np.array(video.timestamps_s[frames]),
        sources=tuple(video.sources[frame] for frame in frames),
        sensor_depth=None if video.sensor_depth is None else video.sensor_depth[frames],
        source_indices=tuple(range(len(frames))),
        originals=None,
        repeats=None,
        overlay=None if video.overlay is None else video.overlay.of(frames),
        notices=(),
    )


def _key_maps(known: _Locals) -> KeyMaps:
    """Inverse depth of every `Flow` sample of the keyframes, and their masks."""
    depths, moving, border = [], [], 0
    for at, frame in enumerate(known.frames.tolist()):
        clip = known.clips[known.clip_of[at]]
        own, local = clip.folder(known.job.folder), frame - clip.first
        found = triangulate(last_flow(own), local, known.scenes[clip.index])
        depths.append(found.inverse_depth.numpy())
        motion = MOTION.load(own)
        moving.append(np.array(motion.probability[local]))
        border = motion.border
    return KeyMaps(np.stack(depths), MotionMasks(np.stack(moving), border))


def _key_flow(
    video: Video,
    pairs: Int64[np.ndarray, "pairs 2"],
    scene: Scene,
    inverse_depth: Float32[np.ndarray, "keyframes rows cols"],
    method: FlowMethod,
    folder: Path,
) -> Flow:
    shape = (2 * len(pairs), *inverse_depth.shape[1:])
    if not len(pairs):
        return Flow(pairs, np.zeros((*shape, 2), np.float16), np.zeros(shape, np.uint8))
    measured = guided_pairs(video.images, pairs, scene, inverse_depth, method)
    flow = store_flow(enumerate(measured), pairs, video.size, folder)
    return without_overlay(flow, video.overlay)
