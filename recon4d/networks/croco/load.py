"""Networks of the CroCo family from official checkpoints: DUSt3R, MonST3R and Align3R."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from recon4d.networks.croco.align3r import Align3R
from recon4d.networks.croco.config import CrocoConfig, config_of
from recon4d.networks.croco.network import Croco
from recon4d.weights.files import WeightsFile, load_into, read_weights


def load_croco(path: Path, device: str | torch.device = "cpu") -> Croco:
    """Read a checkpoint and make its network, ready for inference.

    Args:
        path: A `.safetensors` file, a folder with `model.safetensors`, or a `.pth`.
        device: Where the network goes.

    Raises:
        ConfigError: The checkpoint cannot be read, or is none of the family's.
    """
    weights = read_weights(path)
    return network_of(weights, config_of(weights), device)


def network_of(
    weights: WeightsFile, config: CrocoConfig, device: str | torch.device = "cpu"
) -> Croco:
    """The network of these sizes with a checkpoint's tensors, in 32 bits.

    Raises:
        ConfigError: A key is missing or unexpected, or a tensor has another shape.
    """
    network = empty_network(config).to_empty(device=device)
    load_into(network, completed(weights), "Align3R" if config.point_cloud else "DUSt3R")
    return network.eval()


def empty_network(config: CrocoConfig) -> Croco:
    """The network on the meta device: names and shapes without memory."""
    with torch.device("meta"):
        return Align3R(config) if config.point_cloud else Croco(config)


def completed(weights: WeightsFile) -> WeightsFile:
    """Tensors that official files may leave out because they have them under another name.

    `dec_blocks2` is a copy of `dec_blocks` where no key of it is there; of `scratch.layerN_rn` and
    `scratch.layer_rn.{N-1}`, which are one tensor, safetensors keep one.
    """
    tensors = dict(weights.tensors)
    if not any(name.startswith("dec_blocks2.") for name in tensors):
        tensors.update(_renamed(weights.tensors, r"^dec_blocks\.", "dec_blocks2."))
    for level in range(1, 5):
        one, other = f"scratch.layer{level}_rn.", f"scratch.layer_rn.{level - 1}."
        twins = _renamed(tensors, re.escape(one), other) | _renamed(tensors, re.escape(other), one)
        tensors = twins | tensors
    return replace(weights, tensors=tensors)


def _renamed(tensors: Mapping[str, Tensor], pattern: str, new: str) -> dict[str, Tensor]:
    return {
        re.sub(pattern, new, name): tensor
        for name, tensor in tensors.items()
        if re.search(pattern, name)
    }
