"""Optical flow by RAFT: features of a frame once for all its pairs, both directions, and a confidence."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from recon4d.flow.dis import GrayViews, with_confidence
from recon4d.flow.raft_network import LARGE, SMALL, STRIDE, Encoded, Raft, RaftConfig
from recon4d.scene import FLOW_STRIDE
from recon4d.weights_file import WeightsFile, load_into, read_weights

UPDATES = 12
"""Steps of the recurrence: what torchvision's models take by default."""
MIN_SIDE = 128
"""Smaller images are padded to this: the last level of the correlation pyramid needs two features."""
KEPT_FRAMES = 16
"""Encoded frames that are kept: pairs are sorted by their first frame, and reach no farther than this."""


def load_raft(path: Path, device: str | torch.device = "cpu") -> Raft:
    """Read torchvision's checkpoint of RAFT, large or small.

    Raises:
        ConfigError: The checkpoint cannot be read, or is none of RAFT.
    """
    weights = read_weights(path)
    return network_of(weights, config_of(weights), device)


def config_of(weights: WeightsFile) -> RaftConfig:
    """Large where the checkpoint has a convex upsampling."""
    return LARGE if "mask_predictor.conv.weight" in weights.tensors else SMALL


def network_of(
    weights: WeightsFile, config: RaftConfig, device: str | torch.device = "cpu"
) -> Raft:
    """The network with a checkpoint's tensors, ready for inference."""
    network = Raft(config)
    load_into(network, weights, "RAFT small" if config.is_small else "RAFT large")
    return network.to(device).eval().requires_grad_(False)


class _Encodings:
    """Encodings of the last frames that were asked for."""

    def __init__(self, network: Raft, images: UInt8[np.ndarray, "frames height width 3"]) -> None:
        self._network, self._images = network, images
        self._device = next(network.parameters()).device
        self._found: dict[int, Encoded] = {}

    def __call__(self, frame: int) -> Encoded:
        if frame not in self._found:
            while len(self._found) >= KEPT_FRAMES:
                self._found.pop(next(iter(self._found)))
            image = torch.from_numpy(np.ascontiguousarray(self._images[frame])).to(self._device)
            scaled = image.permute(2, 0, 1)[None].float() / 127.5 - 1
            with _precision(self._device):
                self._found[frame] = self._network.encode(padded(scaled))
        return self._found[frame]


@torch.no_grad()
def raft_pairs(
    network: Raft,
    images: UInt8[np.ndarray, "frames height width 3"],
    pairs: Int64[np.ndarray, "pairs 2"],
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Flow and confidence of unordered pairs, both directions; as `recon4d.flow.dis.flow_pairs`."""
    encode, views = _Encodings(network, images), GrayViews(images)
    for index, (n, m) in enumerate(pairs.tolist()):
        ends = encode(n), encode(m)
        there, back = (
            sampled_flow(network, a, b, images.shape[1:3]) for a, b in (ends, ends[::-1])
        )
        yield index, with_confidence(there, back, views(n), views(m))


def sampled_flow(
    network: Raft, source: Encoded, target: Encoded, size: tuple[int, ...]
) -> Float32[np.ndarray, "rows cols 2"]:
    """Flow in pixels at the sampling of `Flow`.

    Args:
        network: Compares.
        source: Of one frame.
        target: Of the other.
        size: (height, width) of the frames before they were padded.
    """
    with _precision(source.features.device):
        *_, flow = network.flow(source, target, UPDATES)
    height, width = size
    top, left = (flow.shape[2] - height) // 2, (flow.shape[3] - width) // 2
    whole = flow.float()[..., top : top + height, left : left + width]
    # the sample between FLOW_STRIDE x FLOW_STRIDE pixels is their mean
    return np.asarray(F.avg_pool2d(whole, FLOW_STRIDE)[0].permute(1, 2, 0).cpu().numpy())


def padded(image: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "1 3 rows cols"]:
    """Repeat the border until sides are multiples of 8, half on each side."""
    height, width = image.shape[2:]
    more = [max(-(-side // STRIDE) * STRIDE, MIN_SIDE) - side for side in (width, height)]
    sides = [part for extra in more for part in (extra // 2, extra - extra // 2)]
    return F.pad(image, sides, mode="replicate")


def _precision(device: torch.device) -> AbstractContextManager[object]:
    """Half precision on CUDA, where it is twice as fast; flow differs by hundredths of a pixel."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")
