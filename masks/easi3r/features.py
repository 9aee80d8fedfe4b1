"""Easi3R on a video: two passes of a pointmap network, whose attention says what moves."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.masks import Features, MaskMethod, Seen, stored_masks
from recon4d.masks.easi3r import SEED, Easi3rMasks, EdgeAttention, easi3r_masks, token_masks
from recon4d.networks.croco.align3r_points import point_maps
from recon4d.networks.croco.input import network_images, network_size
from recon4d.networks.croco.load import load_croco
from recon4d.networks.croco.network import Croco, View
from recon4d.networks.croco.pairs import PairInference, decode_pairs, encode_images
from recon4d.weights.resolve import MONO, Mono, Resources

PAIR_NETWORKS = ("dust3r", "monst3r", "align3r")
"""Networks of pairs of frames, at whose attention Easi3R can look."""
PASSES = 2
"""The second re-weights the attention by the masks of the first, and its masks count (Easi3R)."""


@torch.no_grad()
def attention_features(
    video: Video,
    flow: Flow,
    weights: Path,
    device: str = "cpu",
    progress: Progress = no_progress,
    mono: Callable[[], Mono | None] = lambda: None,
    seed: int = 0,
) -> Features:
    """Probability of motion of every `Flow` sample, from the attention of all pairs that have flow.

    Raises:
        ConfigError: The weights do not fit.
        InputError: A frame has too few pairs.
        DegenerateError: The attention is the same everywhere.
    """
    network = load_croco(weights, device)
    options = PairInference(statistics=True, half=device == "cuda")
    size = network_size(video.size)
    its_depth = mono() if network.config.point_cloud else None
    points = point_maps(network, video.images, size, its_depth, progress)
    view = encode_images(network, network_images(video.images, size), options, points)
    edges = [(int(n), int(m)) for n, m in flow.edges]
    found: Easi3rMasks | None = None
    with progress("attention", total=PASSES) as counter:
        for _ in range(PASSES):
            moving = None if found is None else _moving_tokens(found, device)
            attention = edge_attention(network, view, edges, options, moving)
            found = easi3r_masks(attention, _token_grid(network, view), SEED + seed)
            counter.advance()
    assert found is not None, "there are two passes"
    rows, cols = flow.confidence.shape[1:]
    small = [cv2.resize(p, (cols, rows)) for p in centred(found.probability, found.threshold)]
    return Features(np.stack(small).reshape(len(small), -1).astype(np.float16))


def edge_attention(
    network: Croco,
    view: View,
    edges: Sequence[tuple[int, int]],
    options: PairInference,
    moving: Tensor | None,
) -> EdgeAttention:
    """Statistics of all pairs as maps.

    Args:
        network: Decodes.
        view: All images, encoded.
        edges: (first, second) frame.
        options: With statistics.
        moving: Tokens that move, for the second pass.
    """
    grid = network.grid(view.size)
    on_second, on_first = [], []
    for found in decode_pairs(network, view, edges, options, moving):
        assert found.logits1 is not None and found.logits2 is not None, "statistics are wanted"
        on_second.append(_maps(found.logits1, grid))
        on_first.append(_maps(found.logits2, grid))
    return EdgeAttention(np.asarray(edges, np.int64), np.stack(on_second), np.stack(on_first))


def centred(value: Float[np.ndarray, "*shape"], threshold: float) -> Float32[np.ndarray, "*shape"]:
    """Values in [0, 1] so that the threshold becomes 0.5."""
    below = 0.5 * value / max(threshold, 1e-6)
    above = 0.5 + 0.5 * (value - threshold) / max(1 - threshold, 1e-6)
    return np.where(value <= threshold, below, above).astype(np.float32)


def _maps(
    logits: Float[Tensor, "layers heads tokens"], grid: tuple[int, int]
) -> Float32[np.ndarray, "rows cols channels"]:
    return np.asarray(logits.flatten(0, 1).T.reshape(*grid, -1).float().cpu().numpy())


def _token_grid(network: Croco, view: View) -> Float32[np.ndarray, "frames rows cols width"]:
    return np.asarray(view.tokens.float().cpu().numpy()).reshape(
        len(view.tokens), *network.grid(view.size), -1
    )


def _moving_tokens(found: Easi3rMasks, device: str) -> Tensor:
    return torch.from_numpy(token_masks(found.is_dynamic)).flatten(1).to(device)


def make(resources: Resources) -> MaskMethod:
    """The method of `--masks easi3r`: the network of `--geometry` where that is of its family, else MonST3R's.

    Raises:
        ConfigError: The weights are not there.
    """
    shared = resources.geometry in PAIR_NETWORKS and resources.own("easi3r") is None
    weights = resources.weights(resources.geometry if shared else "easi3r")
    for name in MONO:
        resources.own(name)  # the weights may be Align3R's, which shows when they are read

    def features(seen: Seen, folder: Path) -> Features:
        device, mono, seed = resources.device, resources.mono, resources.seed
        return attention_features(seen.video, seen.flow, weights, device, seen.progress, mono, seed)

    def masks(seen: Seen, scene: Scene) -> MotionMasks:
        return stored_masks(seen)

    return MaskMethod(masks, depends_on_scene=False, features=features, unites=True)
