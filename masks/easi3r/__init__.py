"""Motion masks from the cross-attention of a pointmap decoder, without training (Easi3R, Chen et al., ICCV 2025).

A decoder that is asked for a static scene attends little, and unsteadily from pair to pair, to what moves. Per image
the attention of all pairs is averaged, once where the image is the second of the pair and once where it is the first;
the four maps (two means, two deviations) give a dynamic value per token. Tokens that look alike share their value.
Numbers are those of the published method, including its rules that could be questioned (README of the parity fixtures).
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int

from recon4d.core.errors import DegenerateError, InputError, MissingDependencyError

PATCH_PX = 16
"""Side of a token."""
CLUSTERS = 64
"""Of the tokens of a video that look alike."""
SEED = 42
"""Of the clustering."""
BINS = 256
"""Of the histogram in which thresholds are sought."""
CLASS_COUNTS = (2, 3, 4)
"""Numbers of classes that are tried."""
EPSILON = 1e-6
"""Added to a range before it divides."""

Maps = Float[np.ndarray, "frames rows cols channels"]
TokenMap = Float[np.ndarray, "frames rows cols"]


@dataclass(frozen=True)
class EdgeAttention:
    """Cross-attention logits of directed pairs, averaged over the query tokens: a value per key token.

    A channel is `layer * heads + head`.
    """

    edges: Int[np.ndarray, "edges 2"]
    """(first, second) frame."""
    on_second: Float[np.ndarray, "edges rows cols channels"]
    """Of the first branch, whose keys are the tokens of the second image."""
    on_first: Float[np.ndarray, "edges rows cols channels"]
    """Of the second branch, whose keys are the tokens of the first image."""


@dataclass(frozen=True)
class Side:
    """Attention to every frame where it is one of the two sides of the pairs."""

    mean: Maps
    deviation: Maps
    """Standard deviation over the pairs, with n - 1."""


@dataclass(frozen=True)
class Easi3rMasks:
    """Masks, and what they were found from."""

    is_dynamic: Bool[np.ndarray, "frames height width"]
    probability: Float32[np.ndarray, "frames height width"]
    """The dynamic value of each pixel, 0 to 1; no calibrated probability."""
    threshold: float


def easi3r_masks(
    attention: EdgeAttention,
    tokens: Float[np.ndarray, "frames rows cols width"],
    seed: int = SEED,
) -> Easi3rMasks:
    """Find masks of moving pixels at `PATCH_PX` times the size of the token grid.

    Args:
        attention: Of the pairs; every frame is the first of two pairs or more, and the second of two or more.
        tokens: Output of the encoder for each frame.
        seed: Of the clusters' first centres.

    Raises:
        InputError: A frame has too few pairs.
        MissingDependencyError: scikit-learn is not installed.
        DegenerateError: The attention is the same everywhere.
    """
    dynamic = dynamic_map(*sides(attention, len(tokens)))
    refined = refine_by_cluster(dynamic, cluster_tokens(tokens, seed))
    return masks_from_map(refined)


def masks_from_map(dynamic: TokenMap) -> Easi3rMasks:
    """Enlarge a map of tokens to pixels and threshold all frames at once."""
    probability = enlarge(dynamic)
    threshold = multi_otsu(probability)
    return Easi3rMasks(probability > threshold, probability, threshold)


def sides(attention: EdgeAttention, num_frames: int) -> tuple[Side, Side]:
    """Gather the attention per frame: as the second image of its pairs, and as the first."""
    first, second = attention.edges.T
    return (
        _gather(attention.on_second, second, num_frames, "second"),
        _gather(attention.on_first, first, num_frames, "first"),
    )


def _gather(
    maps: Float[np.ndarray, "edges rows cols channels"],
    frame_of: Int[np.ndarray, " edges"],
    num_frames: int,
    name: str,
) -> Side:
    """Mean and deviation of the maps of each frame, without the sink of attention in the first token."""
    maps = maps.copy()
    maps[:, 0, 0] = (maps[:, 0, 1] + maps[:, 1, 0]) / 2
    counts = np.bincount(frame_of, minlength=num_frames)
    if counts.min() < 2:
        frame = int(counts.argmin())
        raise InputError(
            f"frame {frame} is the {name} of {counts[frame]} pairs; attention is compared over at least 2: add pairs"
        )
    of_frame = [maps[frame_of == frame] for frame in range(num_frames)]
    return Side(
        np.stack([one.mean(0) for one in of_frame]),
        np.stack([one.std(0, ddof=1) for one in of_frame]),
    )


def stretch(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Move the values of a whole video into 0 to 1."""
    low, high = values.min(), values.max()
    return np.asarray((values - low) / (high - low + np.float32(EPSILON)))


def stretch_each(maps: TokenMap) -> TokenMap:
    """Move the values of each frame into 0 to 1."""
    return np.stack([stretch(one) for one in maps])


def fuse_channels(maps: Maps) -> TokenMap:
    """One value per token from all layers and heads."""
    return stretch(stretch(maps).mean(-1))


def dynamic_map(as_second: Side, as_first: Side) -> TokenMap:
    """How much each token moves, 0 to 1 in every frame."""
    low = 1 - fuse_channels(as_second.mean)
    unsteady = fuse_channels(as_second.deviation)
    high, steady = fuse_channels(as_first.mean), 1 - fuse_channels(as_first.deviation)
    return stretch_each(low * unsteady * high * steady)


def cluster_tokens(
    tokens: Float[np.ndarray, "frames rows cols width"], seed: int = SEED
) -> Int[np.ndarray, "frames rows cols"]:
    """Number of the cluster of each token: k-means over the whole video.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        cluster = importlib.import_module("sklearn.cluster")
    except ImportError as error:
        raise MissingDependencyError(
            "scikit-learn is not installed; masks by Easi3R cluster tokens with it: "
            'pip install "recon4d[models]"'
        ) from error
    flat = tokens.reshape(-1, tokens.shape[-1])
    clusters = min(CLUSTERS, len(flat))
    labels = cluster.KMeans(clusters, n_init=1, random_state=seed % 2**32).fit(flat).labels_
    return np.asarray(labels, np.int64).reshape(tokens.shape[:3])


def refine_by_cluster(dynamic: TokenMap, labels: Int[np.ndarray, "frames rows cols"]) -> TokenMap:
    """Give every token the mean value of its cluster, then stretch each frame."""
    count = np.bincount(labels.ravel())
    total = np.bincount(labels.ravel(), weights=dynamic.ravel())
    mean = (total / np.maximum(count, 1)).astype(dynamic.dtype)
    return stretch_each(mean[labels])


def enlarge(maps: TokenMap, patch_px: int = PATCH_PX) -> Float32[np.ndarray, "frames height width"]:
    """Interpolate between the centres of tokens."""
    values = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]
    large = torch.nn.functional.interpolate(
        values, scale_factor=patch_px, mode="bilinear", align_corners=False
    )
    return large[:, 0].numpy()


def multi_otsu(values: Float[np.ndarray, "..."]) -> float:
    """Find the threshold above which values are in the highest class.

    Otsu's thresholds (Liao, Chen and Chung 2001) for 2, 3 and 4 classes; the number of classes with the best
    `class_score` counts, and of its thresholds the highest.

    Raises:
        DegenerateError: All values are the same.
    """
    occupied = np.count_nonzero(np.histogram(values, BINS)[0])
    tried = [otsu_thresholds(values, classes) for classes in CLASS_COUNTS if classes <= occupied]
    if not tried:
        raise DegenerateError(
            "the attention maps have one value everywhere, and a threshold needs two: "
            "check that the pairs differ and the weights are loaded"
        )
    return max(tried, key=lambda thresholds: class_score(values, thresholds))[-1]


def otsu_thresholds(values: Float[np.ndarray, "..."], classes: int) -> tuple[float, ...]:
    """Split a histogram so that the variance between the classes is largest.

    Thresholds are centres of bins, which belong to the class below; of equally good splits the lowest counts.
    """
    counts, borders = np.histogram(values, BINS)
    centres = (borders[:-1] + borders[1:]) / 2
    spread = _between(counts / counts.sum(), centres)
    best = spread[:, -1]  # of all bins from this one on, as one class
    choices = []
    for _ in range(classes - 1):
        split = spread[:, :-1] + best[1:]
        choices.append(split.argmax(1))
        best = split.max(1)
    bins, start = [], 0
    for choice in reversed(choices):
        bins.append(int(choice[start]))
        start = bins[-1] + 1
    return tuple(float(centres[at]) for at in bins)


def _between(
    share: Float[np.ndarray, " bins"], centres: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, "bins bins"]:
    """What the bins from one to another add to the variance between classes; -inf where there are none."""
    mass = np.concatenate(([0.0], share.cumsum()))
    moment = np.concatenate(([0.0], (share * centres).cumsum()))
    masses = mass[None, 1:] - mass[:-1, None]
    moments = moment[None, 1:] - moment[:-1, None]
    holds = masses > 0
    return np.where(holds, moments**2 / np.where(holds, masses, 1), -np.inf)


def class_score(values: Float[np.ndarray, "..."], thresholds: Sequence[float]) -> float:
    """Variance of the means of the classes over the root of their number; -inf where a class is empty."""
    classes = [
        values[(values > low) & (values <= high)]
        for low, high in pairwise((-np.inf, *thresholds, np.inf))
    ]
    if not all(one.size for one in classes):
        return -np.inf
    means = [one.mean(dtype=np.float64) for one in classes]
    return float(np.var(means) / np.sqrt(len(means)))


def token_masks(
    is_dynamic: Bool[np.ndarray, "frames height width"], patch_px: int = PATCH_PX
) -> Bool[np.ndarray, "frames rows cols"]:
    """Tokens with any moving pixel: what the second pass re-weights its attention with.

    Raises:
        InputError: The size is not a multiple of a token's.
    """
    frames, height, width = is_dynamic.shape
    if height % patch_px or width % patch_px:
        raise InputError(
            f"masks have {width}x{height} px; tokens need multiples of {patch_px} px: resize or crop them"
        )
    tiles = is_dynamic.reshape(frames, height // patch_px, patch_px, width // patch_px, patch_px)
    return np.asarray(tiles.any((2, 4)))
