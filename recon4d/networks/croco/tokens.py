"""Tokens and statistics of cross-attention of DUSt3R, MonST3R and Align3R, for D2MIF."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recon4d.networks.croco.align3r_points import point_maps
from recon4d.networks.croco.input import network_images, network_size
from recon4d.networks.croco.load import load_croco
from recon4d.networks.croco.network import Croco
from recon4d.networks.croco.pairs import PairInference, predict_pairs
from recon4d.networks.tokens import TokenSource, Values, fingerprint, packed, sampled_layers
from recon4d.weights.resolve import Backbone

STATISTICS = 2
"""Mean and deviation over layers and heads."""


def tokens(backbone: Backbone, device: str) -> TokenSource:
    """A network of the family; the encoder sees every image once."""
    network = load_croco(backbone.weights, device)
    layers = (0, *sampled_layers(network.config.dec_depth))
    options = PairInference(half=device == "cuda", statistics=True, layers=layers)

    def look(
        images: UInt8[np.ndarray, "frames height width 3"], pairs: Sequence[tuple[int, int]]
    ) -> Iterator[Values]:
        size = network_size((images.shape[2], images.shape[1]))
        points = point_maps(network, images, size, backbone.mono)
        grid = network.grid((size[1], size[0]))
        for found in predict_pairs(network, network_images(images, size), pairs, options, points):
            assert found.tokens1 is not None and found.logits2 is not None, "they are wanted"
            yield packed(found.tokens1, grid, attention_got(found.logits2, grid))

    also = backbone.mono.name if backbone.mono is not None and _is_align3r(network) else ""
    return TokenSource(network.config.dec_dim, STATISTICS, fingerprint(network, also), look)


def attention_got(
    logits: Float[Tensor, "layers heads tokens"], grid: tuple[int, int]
) -> Float[Tensor, "statistics rows cols"]:
    """Mean and deviation, over layers and heads, of the attention that each token gets from the other view.

    It is that of the mean query, relative to equal attention, as log(1 + x): peaks reach the number of tokens.

    Args:
        logits: Mean over the other view's queries (`PairPrediction.logits2`).
        grid: (rows, cols) of tokens.
    """
    relative = logits.float().softmax(dim=-1).flatten(0, 1) * logits.shape[-1]
    both = torch.stack((relative.mean(0), relative.std(0, correction=0)))
    return both.log1p().reshape(STATISTICS, *grid)


def _is_align3r(network: Croco) -> bool:
    return network.config.point_cloud
