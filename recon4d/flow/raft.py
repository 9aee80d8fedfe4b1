"""Flow by RAFT from its published weights: frames encoded once, both directions of a pair at once.

Pairs are taken in the order of their later frame, then of their distance, so that features of few frames are held, and
a pair begins from the flow of a nearer one: twice as far away, a pixel is taken to have moved twice as much.
"""

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from recon4d.core.errors import ConfigError
from recon4d.core.parallel import torch_threads
from recon4d.core.scene import FLOW_STRIDE
from recon4d.flow import FlowMethod, Measured
from recon4d.flow.views import FrameView, FrameViews, looked_at, with_confidence
from recon4d.networks.raft import CELL_PX, LARGE, LEVELS, SMALL, Encoded, Raft
from recon4d.weights.files import WeightsFile, load_into, read_weights
from recon4d.weights.resolve import Resources

UPDATES = 12
"""Of the flow of a pair: those that torchvision's published figures are for."""
SMALLEST_PX = CELL_PX * 2 ** (LEVELS - 1)
"""Sides are padded to this at least: the last level of the correlation pyramid has one cell then."""
ONLY_LARGE = "mask_predictor.conv.weight"
"""A parameter that the small network does not have."""


class RaftFlow:
    """`--flow raft`: a network, in half precision on CUDA; on the CPU seconds per pair."""

    at_once = False

    def __init__(self, weights: Path, device: torch.device, threads: int) -> None:
        self._weights, self._device, self._threads = weights, device, threads

    @cached_property
    def _network(self) -> Raft:
        return load_raft(self._weights, self._device)

    def pairs(
        self,
        images: UInt8[np.ndarray, "frames height width 3"],
        pairs: Int64[np.ndarray, "pairs 2"],
        threads: int,
    ) -> Iterator[Measured]:
        """As `FlowMethod.pairs`; every frame is encoded once."""
        return raft_pairs(self._network, images, pairs, threads)

    def warped(
        self, first: FrameView, second: FrameView, at: Float32[np.ndarray, "height width 2"]
    ) -> Float32[np.ndarray, "rows cols 2"]:
        """As `FlowMethod.warped`."""
        pair = np.stack((first.image, looked_at(second.image, at)))
        _, flows = next(full_flows(self._network, pair, np.array([[0, 1]]), self._threads))
        return np.asarray(_sampled(flows)[0])


def make(resources: Resources) -> FlowMethod:
    """The method of `--flow raft`.

    Raises:
        ConfigError: The weights are not there.
    """
    return RaftFlow(resources.weights("raft"), torch.device(resources.device), resources.threads)


def load_raft(path: Path, device: torch.device) -> Raft:
    """RAFT large or small, whichever the file holds.

    Raises:
        ConfigError: No file, not readable, or not the weights of RAFT.
    """
    return raft_of(read_weights(path)).to(device)


def raft_of(weights: WeightsFile) -> Raft:
    """RAFT large or small, whichever a checkpoint is of, ready for inference."""
    large = ONLY_LARGE in weights.tensors
    network = Raft(LARGE if large else SMALL)
    load_into(network, weights, f"RAFT {'large' if large else 'small'}")
    return network.eval().requires_grad_(False)


def raft_pairs(
    network: Raft,
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    threads: int,
) -> Iterator[Measured]:
    """Flow and confidence of pairs in both directions, sampled as `Flow`, in an order of its own."""
    views = FrameViews(images)
    for index, flows in full_flows(network, images, pairs, threads):
        there, back = _sampled(flows)
        first, second = (views(int(frame)) for frame in pairs[index])
        yield index, with_confidence(there, back, first, second)


def _sampled(
    flows: Float[Tensor, "2 height width 2"],
) -> Float32[np.ndarray, "2 rows cols 2"]:
    """Flow of every pixel at the sampling of `Flow`."""
    pooled = F.avg_pool2d(flows.permute(0, 3, 1, 2), FLOW_STRIDE).permute(0, 2, 3, 1)
    return np.asarray(pooled.contiguous().cpu().numpy())


def full_flows(
    network: Raft,
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
    threads: int,
    *,
    warm: bool = True,
) -> Iterator[tuple[int, Float[Tensor, "2 height width 2"]]]:
    """Flow of pairs in both directions for every pixel.

    Args:
        network: RAFT.
        images: Frames.
        pairs: Unordered pairs of different frames.
        threads: That one pair uses on the CPU.
        warm: Whether a pair begins from the flow of a nearer one.

    Yields:
        Index of the pair, and its flow there and back: pixels, on the network's device.
    """
    frames = _Frames(network, images, pairs)
    height, width = images.shape[1:3]
    for index in working_order(pairs):
        a, b = (int(frame) for frame in pairs[index])
        with torch_threads(threads):
            start = frames.start(a, b) if warm else None
            flows, coarse = _both_ways(network, frames(a), frames(b), start)
        frames.finished(a, b, coarse)
        yield index, flows[..., :height, :width].permute(0, 2, 3, 1)


def working_order(pairs: Int64[np.ndarray, "pairs 2"]) -> list[int]:
    """Indices of pairs by their later frame, then from near to far."""
    late, apart = pairs.max(axis=1, initial=0), np.abs(pairs[:, 1] - pairs[:, 0])
    return [int(index) for index in np.lexsort((apart, late))]


@torch.inference_mode()
def _both_ways(
    network: Raft, first: Encoded, second: Encoded, start: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Flow first to second and second to first, pixels of the padded images, and the same coarse."""
    source, target = Encoded.cat([first, second]), Encoded.cat([second, first])
    with _half_on_cuda(source.features.device):
        coarse, hidden = deque(network.updates(source, target, UPDATES, start), maxlen=1).pop()
        flows = network.upsample(coarse, hidden)
    if not bool(flows.isfinite().all()):
        raise ConfigError(
            "RAFT's flow is not finite with the weights that were given; give the published weights, or --flow dis"
        )
    return flows, coarse


class _Frames:
    """What is known of the frames at hand: encoded when first needed, forgotten after their last pair."""

    def __init__(
        self,
        network: Raft,
        images: UInt8[np.ndarray, "frames height width 3"],
        pairs: Int64[np.ndarray, "pairs 2"],
    ) -> None:
        self._network, self._images = network, images
        self._left = np.bincount(pairs.ravel(), minlength=len(images))
        self._encoded: dict[int, Encoded] = {}
        self._moved: dict[int, dict[bool, tuple[int, Tensor]]] = {}

    def __call__(self, frame: int) -> Encoded:
        """Encode a frame, unless that is done."""
        if frame not in self._encoded:
            self._encoded[frame] = encode_frame(self._network, self._images[frame])
        return self._encoded[frame]

    def start(self, a: int, b: int) -> Float[Tensor, "2 2 rows cols"] | None:
        """Coarse flow a to b and b to a, as the last pairs of each with a frame on the same side let expect."""
        expected = [self._expected(a, b - a), self._expected(b, a - b)]
        known = [flow for flow in expected if flow is not None]
        if not known:
            return None
        none = torch.zeros_like(known[0])
        return torch.stack([none if flow is None else flow for flow in expected])

    def _expected(self, frame: int, offset: int) -> Tensor | None:
        before = self._moved.get(frame, {}).get(offset > 0)
        return None if before is None else before[1] * (offset / before[0])

    def finished(self, a: int, b: int, coarse: Float[Tensor, "2 2 rows cols"]) -> None:
        """Keep the coarse flow of a pair as long as its frames have others."""
        for frame, offset, flow in ((a, b - a, coarse[0]), (b, a - b, coarse[1])):
            self._moved.setdefault(frame, {})[offset > 0] = (offset, flow)
            self._left[frame] -= 1
            if self._left[frame] == 0:
                del self._encoded[frame], self._moved[frame]


@torch.inference_mode()
def encode_frame(network: Raft, image: UInt8[np.ndarray, "height width 3"]) -> Encoded:
    """Encode one frame; its borders are repeated to the right and below up to a size that RAFT takes."""
    device = next(network.parameters()).device
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None]
    height, width = image.shape[:2]
    right, below = (max(-n % CELL_PX, SMALLEST_PX - n) for n in (width, height))
    padded = F.pad(pixels.float() / 127.5 - 1, (0, right, 0, below), mode="replicate")
    with _half_on_cuda(device):
        return network.encode(padded)


def _half_on_cuda(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")
