"""From scenes of overlapping clips to one: where every piece of every clip lies in a common world.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation, Slerp

from recon4d.core.scene import Notice, Scene
from recon4d.core.similarity import (
    Similarity,
    concatenated,
    depth_scale,
    scene_part,
    similarity_between,
)

MIN_SHARED_FRAMES = 2
"""Posed frames that two pieces must share to be related."""


@dataclass(frozen=True)
class Piece:
    """Frames of one clip that the flow connects, in a world of their own."""

    clip: int
    component: int
    """Its name within the clip."""
    frames: Int64[np.ndarray, " frames"]
    """Indices in the whole video, ascending."""
    scene: Scene
    """Of these frames."""


@dataclass(frozen=True)
class Link:
    """Two pieces that were found to show the same."""

    here: int
    there: int
    here_from_there: Similarity
    has_scale: bool


@dataclass(frozen=True)
class Placement:
    """Every piece in the world of the first piece of its group."""

    world_from_piece: tuple[Similarity, ...]
    group: Int64[np.ndarray, " pieces"]
    """Pieces that share no frame, even through others, are of different groups."""
    notices: tuple[Notice, ...] = ()


def pieces_of(clip: int, first: int, scene: Scene) -> list[Piece]:
    """The pieces of a clip's scene, whose first frame is `first` in the whole video."""
    names = np.unique(scene.component[scene.component >= 0])
    found = []
    for name in names:
        own = np.flatnonzero(scene.component == name)
        found.append(Piece(clip, int(name), own + first, scene_part(scene, own)))
    return found


def link(pieces: list[Piece]) -> list[Link]:
    """Pairs of pieces of neighbouring clips that share frames."""
    links = []
    for at, here in enumerate(pieces):
        for other in range(at + 1, len(pieces)):
            there = pieces[other]
            if there.clip != here.clip + 1:
                continue
            _, mine, theirs = np.intersect1d(here.frames, there.frames, return_indices=True)
            if len(mine) >= MIN_SHARED_FRAMES:
                same, measured = similarity_between(
                    scene_part(here.scene, mine), scene_part(there.scene, theirs)
                )
                links.append(Link(at, other, same, measured))
    return links


def place(pieces: list[Piece], links: list[Link]) -> Placement:
    """Chain the pieces along their links, in the order of time."""
    placed: list[Similarity | None] = [None] * len(pieces)
    group = np.full(len(pieces), -1)
    guessed: list[int] = []
    for root in range(len(pieces)):
        if placed[root] is not None:
            continue
        placed[root], group[root] = Similarity.identity(), group.max() + 1
        grown = True
        while grown:
            grown = False
            for edge in links:
                here, there = placed[edge.here], placed[edge.there]
                if here is not None and there is None:
                    placed[edge.there] = here @ edge.here_from_there
                    group[edge.there] = group[edge.here]
                elif here is None and there is not None:
                    placed[edge.here] = there @ edge.here_from_there.inverse()
                    group[edge.here] = group[edge.there]
                else:
                    continue
                grown = True
                if not edge.has_scale:
                    guessed.append(edge.there)
    return Placement(
        tuple(p for p in placed if p is not None), group, _scale_notice(pieces, guessed)
    )


def _scale_notice(pieces: list[Piece], guessed: list[int]) -> tuple[Notice, ...]:
    if not guessed:
        return ()
    frames = np.unique(np.concatenate([pieces[index].frames for index in guessed]))
    share = "1 clip shares" if len(guessed) == 1 else f"{len(guessed)} clips share"
    message = (
        f"{share} no measured depth with the clip before (the camera stands or only turns): the scale relative to it "
        "is a guess."
    )
    return (Notice("scale_guessed", message, tuple(int(frame) for frame in frames)),)


def carry(
    scene: Scene,
    keys: Int64[np.ndarray, " keys"],
    key_scene: Scene,
    timestamps_s: Float64[np.ndarray, " frames"],
) -> Scene:
    """Bring a clip's scene to its keyframes: they get the given parameters, the frames between follow.

    Every keyframe says how the clip's world must be scaled, turned and moved to fit; frames between two keyframes of a
    piece follow both, the nearer one more.

    Args:
        scene: Of the clip; `component` names the pieces.
        keys: Indices of the keyframes in the clip, ascending.
        key_scene: The keyframes as they must be.
        timestamps_s: Of the clip's frames.
    """
    poses = np.array(scene.world_from_cam)
    log_scale = np.zeros(len(poses))
    for name in np.unique(scene.component[scene.component >= 0]):
        own = np.flatnonzero(scene.component == name)
        mine = np.flatnonzero(scene.component[keys] == name)
        if len(mine):
            fits = [_fit(scene, key_scene, int(keys[at]), int(at)) for at in mine]
            poses[own], log_scale[own] = _follow(
                scene.world_from_cam[own], timestamps_s[own], timestamps_s[keys[mine]], fits
            )
    scale = np.exp(log_scale)[:, None]
    rho = (scene.inverse_depth / scale).astype(np.float32)
    std = (scene.inverse_depth_std / scale).astype(np.float32)
    poses[keys], rho[keys] = key_scene.world_from_cam, key_scene.inverse_depth
    return replace(
        scene,
        world_from_cam=poses,
        inverse_depth=rho,
        inverse_depth_std=std,
        intrinsics=_carry_focal(scene, keys, key_scene, timestamps_s),
    )


def _carry_focal(
    scene: Scene,
    keys: Int64[np.ndarray, " keys"],
    key_scene: Scene,
    timestamps_s: Float64[np.ndarray, " frames"],
) -> Float64[np.ndarray, "frames 4"]:
    """The keyframes' intrinsics; frames between them keep how they differ from them in the clip.

    Where the focal length is shared, that is not at all, bit by bit.
    """

    def between(of_keys: Float64[np.ndarray, "keys 4"]) -> Float64[np.ndarray, "frames 4"]:
        columns = [np.interp(timestamps_s, timestamps_s[keys], column) for column in of_keys.T]
        return np.stack(columns, axis=1)

    intrinsics = np.asarray(scene.intrinsics / between(scene.intrinsics[keys]))
    intrinsics *= between(key_scene.intrinsics)
    intrinsics[keys] = key_scene.intrinsics
    return intrinsics


def _fit(scene: Scene, key_scene: Scene, frame: int, key: int) -> Similarity:
    """The similarity that brings the clip's world to where one keyframe must be."""
    scale = 1.0 if scene.is_metric else depth_scale(key_scene, scene, key, frame)
    new, old = key_scene.world_from_cam[key], scene.world_from_cam[frame]
    rotation = new[:3, :3] @ old[:3, :3].T
    return Similarity(scale, rotation, new[:3, 3] - scale * rotation @ old[:3, 3])


def _follow(
    poses: Float64[np.ndarray, "frames 4 4"],
    times_s: Float64[np.ndarray, " frames"],
    keys_s: Float64[np.ndarray, " keys"],
    fits: list[Similarity],
) -> tuple[Float64[np.ndarray, "frames 4 4"], Float64[np.ndarray, " frames"]]:
    """Poses between keyframes, and the logarithm of the scale there."""
    log_scale = np.interp(times_s, keys_s, np.log([fit.scale for fit in fits]))
    moved = np.stack([fit.poses(poses) for fit in fits])  # keys frames 4 4
    after = np.searchsorted(keys_s, times_s).clip(1, max(len(fits) - 1, 1))
    out = moved[0].copy()
    if len(fits) == 1:
        return out, log_scale
    for frame, (later, time_s) in enumerate(zip(after, times_s, strict=True)):
        a, b = moved[later - 1, frame], moved[later, frame]
        span = keys_s[later] - keys_s[later - 1]
        share = float(np.clip((time_s - keys_s[later - 1]) / span, 0, 1))
        turn = Slerp((0.0, 1.0), Rotation.from_matrix(np.stack((a, b))[:, :3, :3]))
        out[frame, :3, :3] = turn(share).as_matrix()
        out[frame, :3, 3] = (1 - share) * a[:3, 3] + share * b[:3, 3]
    return out, log_scale


def key_scene_of(
    pieces: list[Piece],
    placement: Placement,
    keys: list[tuple[int, int]],
    own_focals: bool = False,
) -> Scene:
    """The keyframes in the common world.

    Args:
        pieces: Of all clips.
        placement: Where they lie.
        keys: (piece, frame of the whole video) of every keyframe, ascending by frame.
        own_focals: Every keyframe keeps its focal length; otherwise all get the median of the pieces'.
    """
    parts = []
    for at, frame in keys:
        piece = pieces[at]
        place_in_piece = np.flatnonzero(piece.frames == frame)
        part = placement.world_from_piece[at].scene(scene_part(piece.scene, place_in_piece))
        parts.append(replace(part, component=np.array([int(placement.group[at])])))
    scene = concatenated(parts)
    measured = np.isfinite(scene.inverse_depth_std).any(1)
    if not own_focals:
        known = scene.intrinsics[measured if measured.any() else slice(None)]
        scene = replace(
            scene, intrinsics=np.repeat(np.median(known, axis=0)[None], len(keys), axis=0)
        )
    names, counts = np.unique(scene.component, return_counts=True)
    return replace(scene, is_posed=np.asarray(scene.component == names[counts.argmax()]))
