"""Whole objects: what the appearance of single images adds to the last masks.

Motion knows which things move; appearance knows where things end, and that a leg, a back and a head are one animal. A
salient-object network (`recon4d.networks.u2net`) says what of an image is an object. A salient object need not move,
and movers of a crowd need not be salient: hence the log-odds of both are added in bounds, so that salience outweighs
neither sure motion nor sure rest, and that something is not salient counts as far as what surely moves in the image is
salient. That something is salient counts less where motion leaves little open. Where a static world has an object below
the ground (`recon4d.masks.d2mif.below`), motion's evidence of rest is void. For the cameras only motion counts: a body
at rest measures them as well as a wall does. So this is done once, when the loop has ended.

Numbers here that name no source were set by hand, on fourteen clips of all kinds together (docs/LIMITS.md).
"""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from scipy.special import expit, logit

from recon4d.core.parallel import each
from recon4d.core.scene import MotionMasks, Scene
from recon4d.flow.overlay import hidden_samples
from recon4d.masks import Seen
from recon4d.masks.d2mif.below import below_ground
from recon4d.networks.u2net import salience

MOST_SALIENT = 0.99
"""Quantile of an image above which is what is most salient in it."""
LEAST_OF_MOST = 3.0
"""Log-odds that what is most salient gets at least: of small and of hidden objects the network is never sure."""
AGAINST = -3.0
"""Least log-odds of what is not salient ..."""
IN_FAVOUR = 4.0
"""... and most of what is."""
SURELY_MOVES = 0.8
"""Probability of what salience is tried on."""
SURELY_RESTS = 0.1
"""Probability of motion below which it is sure of rest."""
LEAST_IN_FAVOUR = 0.5
"""Of what salience says for an object, where motion leaves nothing open. This and the next two were set on 23 clips of
15 kinds together; with .3, .6 and .25 to .4 instead, one or two of them at a time, the mean J is within .001."""
MUCH_MOVES = 0.4
"""Part of what is salient that surely moves, and ..."""
MUCH_OPEN = 0.2
"""... part of it that motion is not sure of, from which on all counts that salience says."""
PRIOR_SAMPLES = 100.0
"""Samples, half of them salient, that count beside those which surely move: few say little."""
PRIOR_LOG_ODDS = -0.3
"""Of motion, beside both: what is salient and moves would otherwise be counted twice."""
UNSURE = (0.2, 0.8)
"""`MotionMasks.unsure` of what motion and appearance say together."""
LARGEST_LOG_ODDS = 9.0
"""Of motion: that of the last bit of a probability."""


def whole_objects(seen: Seen, scene: Scene, motion: MotionMasks) -> MotionMasks:
    """Masks of whole objects from masks of what moves.

    Args:
        seen: The frames of the masks.
        scene: Of the last round of the loop.
        motion: From that round.
    """
    video = seen.video
    hidden = None if video.overlay is None else hidden_samples(video.overlay)
    moves = np.asarray(motion.probability, np.float32)
    salient = np.empty_like(moves)

    def look(frame: int) -> None:
        salient[frame] = salient_log_odds(video.images[frame], *moves.shape[1:])

    with seen.progress("objects", total=video.num_frames) as counter:
        for _ in each(look, range(video.num_frames), seen.threads):
            counter.advance()
    share, out = in_favour(moves, salient), np.empty_like(motion.probability)
    for frame in range(video.num_frames):
        void = below_ground(scene, frame, salient[frame], moves[frame])
        out[frame] = joined(moves[frame], salient[frame], void, share)
    if hidden is not None:
        out = np.where(hidden, moves, out)
    return replace(motion, probability=out, unsure=UNSURE)


def in_favour(
    moves: Float32[np.ndarray, "frames rows cols"], salient: Float32[np.ndarray, "frames rows cols"]
) -> float:
    """How much it counts that something is salient, 1 to `LEAST_IN_FAVOUR`.

    Where motion is sure of nearly all that is salient in a video, and much of it moves, little is left to say: what is
    salient at rest beside it would be taken along.

    Args:
        moves: Probability of motion.
        salient: Of `salient_log_odds`.
    """
    weight = np.maximum(salient, 0)
    total = max(float(weight.sum()), 1.0)
    sure = float(weight[moves > SURELY_MOVES].sum()) / total
    is_open = (moves > SURELY_RESTS) & (moves <= SURELY_MOVES)
    unsure = float(weight[is_open].sum()) / total
    little = min(sure / MUCH_MOVES, 1) * max(1 - unsure / MUCH_OPEN, 0)
    return 1 - (1 - LEAST_IN_FAVOUR) * little


def joined(
    moves: Float32[np.ndarray, "rows cols"],
    salient: Float32[np.ndarray, "rows cols"],
    cannot_rest: Float32[np.ndarray, "rows cols"],
    share: float = 1.0,
) -> Float32[np.ndarray, "rows cols"]:
    """Probability that a sample belongs to a moving object.

    Args:
        moves: Probability of motion.
        salient: Of `salient_log_odds`.
        cannot_rest: Of `below_ground`: how little motion's evidence of rest says.
        share: Of `in_favour`.
    """
    sure = moves > SURELY_MOVES
    both = float((sure * expit(2 * salient)).sum())
    trust = (both + PRIOR_SAMPLES / 2) / (float(sure.sum()) + PRIOR_SAMPLES)
    evidence = salient * np.where(salient > 0, np.float32(share), np.float32(trust))
    log_odds = np.clip(logit(moves), -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    log_odds = np.where(log_odds < 0, (1 - cannot_rest) * log_odds, log_odds)
    return np.asarray(expit(log_odds + evidence + PRIOR_LOG_ODDS), np.float32)


def salient_log_odds(
    image: UInt8[np.ndarray, "height width 3"], rows: int, cols: int
) -> Float32[np.ndarray, "{rows} {cols}"]:
    """Log-odds that each of (rows, cols) samples of an image shows an object, from `AGAINST` to `IN_FAVOUR`."""
    found = salience(image)
    found += max(0.0, LEAST_OF_MOST - float(np.quantile(found, MOST_SALIENT)))
    resized = cv2.resize(found, (cols, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(resized, AGAINST, IN_FAVOUR), np.float32)
