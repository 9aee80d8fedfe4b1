"""pi3 from official checkpoints."""

from pathlib import Path

import torch

from recon4d.networks.pi3.config import Pi3Config, config_of
from recon4d.networks.pi3.network import Pi3
from recon4d.weights.files import WeightsFile, load_into, read_weights


def load_pi3(path: Path, device: str | torch.device = "cpu") -> Pi3:
    """Read a checkpoint and make its network, ready for inference.

    Args:
        path: A `.safetensors` file, a folder with `model.safetensors`, or a `.pth`.
        device: Where the network goes.

    Raises:
        ConfigError: The checkpoint cannot be read, or is none of pi3.
    """
    return network_of(read_weights(path), device)


def network_of(weights: WeightsFile, device: str | torch.device = "cpu") -> Pi3:
    """The network with a checkpoint's tensors, in 32 bits.

    Raises:
        ConfigError: A key is missing or unexpected, or a tensor has another shape.
    """
    network = empty_network(config_of(weights.tensors)).to_empty(device=device)
    load_into(network, weights, "pi3")
    return network.eval()


def empty_network(config: Pi3Config) -> Pi3:
    """The network on the meta device: names and shapes without memory."""
    with torch.device("meta"):
        return Pi3(config)
