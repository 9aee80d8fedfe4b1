"""Tokens of pi3, for D2MIF: a frame and its neighbour are a sequence of two.

Numbers here that name no source were set by hand.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from recon4d.networks.pi3.input import ViewOptions, encoded, network_size, precision
from recon4d.networks.pi3.load import load_pi3
from recon4d.networks.tokens import TokenSource, Values, fingerprint, packed, sampled_layers
from recon4d.weights.resolve import Backbone

PAIRS_AT_ONCE = 4
"""Sequences that go through the decoder together."""


def tokens(backbone: Backbone, device: str) -> TokenSource:
    """The network; its attention is among all tokens of both frames, so that there are no statistics of one's."""
    network = load_pi3(backbone.weights, device)
    blocks = [number - 1 for number in sampled_layers(network.config.depth)]
    options = ViewOptions(half=device == "cuda")

    def look(
        images: UInt8[np.ndarray, "frames height width 3"], pairs: Sequence[tuple[int, int]]
    ) -> Iterator[Values]:
        size = network_size((images.shape[2], images.shape[1]), network.config.patch)
        grid = network.grid_of((size[1], size[0]))
        found = encoded(network, images, size, options)
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            chosen = torch.tensor(pairs[start : start + PAIRS_AT_ONCE], device=found.device)
            given = found[chosen.flatten()]
            with precision(network, options):
                decoded = network.decode(given, grid, sequences=len(chosen), keep=blocks)
            of_blocks = [decoded.kept[k][::2, network.config.registers :] for k in blocks]
            for layers in torch.stack([given[::2], *of_blocks], dim=1):
                yield packed(layers, grid)

    return TokenSource(network.config.dim, 0, fingerprint(network), look)
