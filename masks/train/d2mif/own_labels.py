"""Labels that videos without any truth give themselves: geometry is sure what moves, and appearance agrees.

A camera that is carried through a scene shows by its parallax what stands still. Evidence of that alone is right about
most pixels and wrong about whole regions (water, mirrors, what is occluded); salience alone is right about outlines and
knows no motion. What both say is a label, of all the rest nothing is learnt. Objects are labelled as wholes.

Numbers here that name no source were set by hand.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from recon4d.core.errors import InputError, Recon4DError
from recon4d.core.scene import Scene
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.files import list_images
from recon4d.io.read import read_video
from recon4d.masks.d2mif.salience import salient_log_odds
from recon4d.masks.evidence import probability
from recon4d.masks.train.d2mif.samples import REAL_SIDE, Front, Samples, look, samples_of

VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mts", ".3gp"))
MOST_FRAMES = 96
"""Of every video: many short videos show more than one long one."""
WINDOW = 16
"""Frames that are looked at together."""
FEWEST = 6
"""Of a window: the last one may be shorter."""
SURE = 0.9
"""Probability from which the evidence of geometry is sure that something moves, or that it stands still."""
OBJECT = 0.0
"""Log-odds of salience above which a pixel belongs to an object ..."""
NO_OBJECT = -1.0
"""... and below which it belongs to none."""
WHOLE = 0.5
"""An object moves if more than this part of it surely does ..."""
AT_REST = 0.9
"""... and rests if more than this part of it surely stands still; else nothing is known of it."""
LEAST_OBJECT = 0.002
"""Smallest part of the picture that is an object."""
AROUND = 0.2
"""Of what moves, by its size (the root of its area): so far around it nothing is known to stand still. Trousers without
texture, below a coat that is an object (`lady-running.mp4`)."""
LEAST_KNOWN = 0.3
"""Part of a frame whose label is known, at least."""

Odds = Float32[np.ndarray, "frames rows cols"]
Labels = UInt8[np.ndarray, "frames rows cols"]


def videos_in(folder: Path) -> tuple[Path, ...]:
    """Video files and folders of pictures in a folder, or the folder itself if it is one.

    Raises:
        InputError: There is none.
    """
    if not folder.is_dir():
        raise InputError(f"--videos {folder} is no folder; give one with videos in it")
    if list_images(folder):
        return (folder,)
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES or (path.is_dir() and list_images(path))
    ]
    if not found:
        raise InputError(f"--videos {folder} holds neither videos nor folders of pictures")
    return tuple(found)


def own_samples(source: Path, seed: int, folder: Path, threads: int = 1) -> Samples:
    """Run the front end on a video, and label what it and appearance agree about.

    Args:
        source: A video file or a folder of pictures.
        seed: Decides which geometry and which partners the samples show.
        folder: For memory maps.
        threads: Frames and pairs that are looked at at the same time.

    Raises:
        Recon4DError: The video cannot be read, or no part of it has labels.
    """
    rng = np.random.default_rng(seed)
    options = ReadOptions(size=REAL_SIDE, max_frames=MOST_FRAMES)
    images = read_video(source, options, folder).images
    parts = list(_windows(np.asarray(images), rng, folder, threads))
    if not parts:
        raise InputError(
            f"{source.name} labels nothing: geometry is sure of little, or appearance sees other objects"
        )
    known = [part.known for part in parts if part.known is not None]
    return Samples(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.maps for part in parts]),
        known=np.concatenate(known),
    )


def _windows(
    images: UInt8[np.ndarray, "frames height width 3"],
    rng: np.random.Generator,
    folder: Path,
    threads: int,
) -> Iterator[Samples]:
    """Samples of the windows that have labels; those that the front end refuses have none."""
    for start in range(0, len(images) - FEWEST + 1, WINDOW):
        inside = folder / f"from{start}"
        inside.mkdir()
        try:
            front = look(images[start : start + WINDOW], None, inside, threads)
            scene = front.improved("optimised", np.zeros(front.video.images.shape[:3], bool))
        except Recon4DError:
            continue
        if not has_parallax(scene):
            continue
        found = _labelled(front, scene, rng)
        if found is not None:
            yield found


def has_parallax(scene: Scene) -> bool:
    """Whether geometry can be sure: the camera went somewhere, all frames are connected, near and far are decided."""
    whole = bool(scene.is_posed.all()) and not np.ptp(scene.component)
    return whole and not scene.turns_only and not scene.is_order_unsure


def _labelled(front: Front, scene: Scene, rng: np.random.Generator) -> Samples | None:
    odds = np.stack([around.log_odds for around in front.around(scene)])
    rows, cols = odds.shape[1:]
    images = np.asarray(front.video.images)
    salient = np.stack([salient_log_odds(image, rows, cols) for image in images])
    truth, known = labels(odds, salient)
    good = np.flatnonzero(known.mean((1, 2)) >= LEAST_KNOWN)
    if not len(good):
        return None
    shown = front.scene if rng.random() < 0.5 else scene  # as in first rounds, or in later ones
    none = np.zeros(images.shape[:3], bool)
    found = samples_of(front, shown, good.tolist(), none, rng)
    return replace(found, truth=truth[good] * np.uint8(255), known=known[good])


def labels(odds: Odds, salient: Odds) -> tuple[Labels, Labels]:
    """What moves (1), and where that is known (1).

    Args:
        odds: Log-odds of motion by geometry, gathered over time.
        salient: Log-odds that appearance sees an object.
    """
    moves = probability(odds)
    truth, known = (np.zeros(odds.shape, np.uint8) for _ in range(2))
    known[(moves < 1 - SURE) & (salient < NO_OBJECT)] = 1
    for frame in range(len(odds)):
        is_object = (salient[frame] > OBJECT).astype(np.uint8)
        count, which = cv2.connectedComponents(is_object)
        for index in range(1, count):
            inside = which == index
            if inside.mean() < LEAST_OBJECT:
                continue
            if (moves[frame][inside] > SURE).mean() > WHOLE:
                known[frame][_around(inside)] = 0
                truth[frame][inside] = 1
            elif (moves[frame][inside] < 1 - SURE).mean() > AT_REST:
                known[frame][inside] = 1
    return truth, known | truth


def _around(inside: Bool[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """An object with a margin in proportion to it."""
    reach = int(AROUND * np.sqrt(inside.sum())) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(inside.astype(np.uint8), disc), np.bool_)
