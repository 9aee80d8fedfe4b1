"""Predictions for pairs of images by a network of the CroCo family, in batches that fit a memory budget."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recon4d.core.errors import ConfigError, InputError
from recon4d.networks.croco.blocks import Attention
from recon4d.networks.croco.config import CrocoConfig
from recon4d.networks.croco.network import Croco, Decoded, Predicted, View

FLOAT_BYTES = 4
"""Bytes of a single-precision number."""


@dataclass(frozen=True)
class PairInference:
    """How pairs are predicted, and what is wanted of them."""

    budget_bytes: int = 4 * 2**30
    """Memory for what a batch computes, besides the weights and the images' tokens; a batch has one pair at least."""
    half: bool = False
    """Whether the transformers compute in 16 bits, which needs CUDA; the heads always have 32."""
    statistics: bool = False
    """Whether Easi3R's statistics of the cross-attention are returned."""
    layers: tuple[int, ...] = ()
    """Whose tokens are returned, in the decoder's width: 0 is the encoder, k the k-th layer of the decoder."""

    def __post_init__(self) -> None:
        if self.budget_bytes <= 0:
            raise ConfigError(f"the memory budget must be positive, got {self.budget_bytes} bytes")
        if min(self.layers, default=0) < 0:
            raise ConfigError(f"layers are counted from 0, got {self.layers}")


@dataclass(frozen=True)
class PairPrediction:
    """What a network says of one pair, on its device; parts of a batch, so copy what should outlive the iteration."""

    edge: tuple[int, int]
    """Indices of view 1 and view 2."""
    points1: Float[Tensor, "height width 3"]
    """Pixels of view 1 in the camera of view 1, in a scale of the pair's own."""
    confidence1: Float[Tensor, "height width"]
    """Above 1."""
    points2: Float[Tensor, "height width 3"]
    """Pixels of view 2 in the camera of view 1."""
    confidence2: Float[Tensor, "height width"]
    tokens1: Float[Tensor, "wanted tokens channels"] | None
    """Of view 1 after the wanted layers, row by row."""
    tokens2: Float[Tensor, "wanted tokens channels"] | None
    logits1: Float[Tensor, "layers heads tokens"] | None
    """Mean over view 1's tokens of the logits of their attention to each token of *view 2* (Easi3R)."""
    logits2: Float[Tensor, "layers heads tokens"] | None
    """Likewise of view 2's tokens to each token of *view 1*."""


def predict_pairs(
    network: Croco,
    images: Float[Tensor, "images 3 height width"],
    edges: Sequence[tuple[int, int]],
    options: PairInference | None = None,
    points: Float[Tensor, "images height width 3"] | None = None,
) -> Iterator[PairPrediction]:
    """Predict pairs in their order; every image that is in a pair goes through the encoder once.

    Args:
        network: On the device that computes.
        images: Values in [-1, 1], sides multiples of the patch, on any device.
        edges: (view 1, view 2) of each pair.
        options: Memory, precision, and what else is wanted.
        points: Normalised point maps of all images, for Align3R.

    Raises:
        InputError: A pair names an image that is not there, a size does not fit, or point maps are missing or unwanted.
        ConfigError: Half precision or a layer that the network cannot give.
    """
    options = options or PairInference()
    _check(network, edges, len(images), options)
    used = sorted({index for edge in edges for index in edge})
    place = {index: i for i, index in enumerate(used)}
    view = encode_images(network, images[used], options, None if points is None else points[used])
    local = [(place[a], place[b]) for a, b in edges]
    named = zip(edges, decode_pairs(network, view, local, options), strict=True)
    return (replace(found, edge=edge) for edge, found in named)


@torch.no_grad()
def encode_images(
    network: Croco,
    images: Float[Tensor, "images 3 height width"],
    options: PairInference | None = None,
    points: Float[Tensor, "images height width 3"] | None = None,
) -> View:
    """Tokens of images, one pass through the encoder each; see `predict_pairs`."""
    options = options or PairInference()
    device = _device(network)
    _check_half(device, options)
    size = (images.shape[2], images.shape[3])
    batch = batch_size(image_bytes(network.config, network.grid(size)), options.budget_bytes)
    views = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        its_points = None if points is None else points[part].to(device)
        with _precision(device, options.half):
            views.append(network.encode(images[part].to(device), points=its_points))
    return _joined(views, size)


def decode_pairs(
    network: Croco,
    view: View,
    edges: Sequence[tuple[int, int]],
    options: PairInference | None = None,
    moving: Bool[Tensor, "images tokens"] | None = None,
) -> Iterator[PairPrediction]:
    """Predict pairs of encoded images, in their order.

    Args:
        network: The one that encoded.
        view: All images.
        edges: (view 1, view 2) of each pair.
        options: Memory, precision, and what else is wanted.
        moving: Tokens that move (`recon4d.networks.croco.network.moving_tokens`); static ones of view 1 then do not
            look at those of view 2 (Easi3R's re-weighting).

    Raises:
        InputError: A pair names an image that is not there, or the masks are of other images.
        ConfigError: Half precision or a layer that the network cannot give.
    """
    options = options or PairInference()
    _check(network, edges, len(view.tokens), options)
    if moving is not None and moving.shape != view.tokens.shape[:2]:
        raise InputError(
            f"masks of {tuple(moving.shape)} tokens were given, {tuple(view.tokens.shape[:2])} (images, tokens) "
            "were needed: make them with moving_tokens from the same images"
        )
    return _decode_pairs(network, view, edges, options, moving)


@torch.no_grad()
def _decode_pairs(
    network: Croco,
    view: View,
    edges: Sequence[tuple[int, int]],
    options: PairInference,
    moving: Tensor | None,
) -> Iterator[PairPrediction]:
    device = view.tokens.device
    each = pair_bytes(network.config, network.grid(view.size))
    batch = batch_size(each, options.budget_bytes)
    for start in range(0, len(edges), batch):
        chosen = edges[start : start + batch]
        first, second = torch.tensor(chosen, device=device).unbind(1)
        wanted = Attention(options.statistics)
        if moving is not None:
            masks = moving.to(device)
            wanted = replace(wanted, dynamic1=masks[first], dynamic2=masks[second])
        with _precision(device, options.half):
            decoded, predicted = network(view.take(first), view.take(second), wanted)
        yield from _each_pair(network, chosen, decoded, predicted, options.layers)


def _each_pair(
    network: Croco,
    edges: Sequence[tuple[int, int]],
    decoded: Decoded,
    predicted: Predicted,
    layers: tuple[int, ...],
) -> Iterator[PairPrediction]:
    tokens = [
        network.layer_tokens(of_view, layers) if layers else None
        for of_view in (decoded.layers1, decoded.layers2)
    ]
    for i, edge in enumerate(edges):
        yield PairPrediction(
            edge,
            predicted.points1[i],
            predicted.confidence1[i],
            predicted.points2[i],
            predicted.confidence2[i],
            *(
                None if many is None else many[i]
                for many in (*tokens, decoded.logits1, decoded.logits2)
            ),
        )


def batch_size(each_bytes: int, budget_bytes: int) -> int:
    """How many fit, at least one."""
    return max(budget_bytes // each_bytes, 1)


def image_bytes(config: CrocoConfig, grid: tuple[int, int]) -> int:
    """Memory that encoding an image takes, about: one block's queries, keys, values and hidden layer, and tokens."""
    tokens = grid[0] * grid[1]
    return int(FLOAT_BYTES * tokens * config.enc_dim * (8 + 2 * config.mlp_ratio))


def pair_bytes(config: CrocoConfig, grid: tuple[int, int]) -> int:
    """Memory that a pair takes, on the safe side: tokens of all layers, one block, and the widest maps of one head.

    Measured with 4 layers at 512x288 on a CPU, workspace of its kernels included: 290 MB; the estimate is 430 MB.
    """
    tokens = grid[0] * grid[1]
    decoder = tokens * config.dec_dim * (2 * (config.dec_depth + 1) + 8 + 2 * config.mlp_ratio)
    pixels = tokens * config.patch**2
    maps = pixels * (3 * config.last_dim + config.feature_dim) if config.head == "dpt" else 0
    return int(FLOAT_BYTES * (decoder + maps + 16 * pixels))


def _check(
    network: Croco, edges: Sequence[tuple[int, int]], images: int, options: PairInference
) -> None:
    wrong = [edge for edge in edges if not all(0 <= index < images for index in edge)]
    if wrong or not edges:
        what = f"the pair {wrong[0]}" if wrong else "no pair"
        raise InputError(
            f"{what} was given with {images} images; pairs of indices 0 to {images - 1} are needed"
        )
    depth = network.config.dec_depth
    if max(options.layers, default=0) > depth:
        raise ConfigError(
            f"tokens of layers {options.layers} are wanted; the decoder has layers 1 to {depth}"
        )
    _check_half(_device(network), options)


def _check_half(device: torch.device, options: PairInference) -> None:
    if options.half and device.type != "cuda":
        raise ConfigError(f"half precision needs CUDA, the network is on {device}; leave it out")


def _device(network: Croco) -> torch.device:
    return network.decoder_embed.weight.device


def _precision(device: torch.device, half: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.float16, enabled=half)


def _joined(views: list[View], size: tuple[int, int]) -> View:
    added = zip(*(view.added for view in views), strict=True)
    return View(
        torch.cat([view.tokens for view in views]),
        torch.cat([view.positions for view in views]),
        size,
        added=tuple(torch.cat(terms) for terms in added),
    )
