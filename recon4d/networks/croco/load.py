"""Networks of the CroCo family from official checkpoints: DUSt3R, MonST3R and Align3R."""

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from recon4d.networks.croco.align3r import Align3R
from recon4d.networks.croco.config import config_of
from recon4d.networks.croco.network import Croco
from recon4d.networks.load import Loader
from recon4d.weights.files import WeightsFile


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


CROCO = Loader(
    config_of,
    lambda config: Align3R(config) if config.point_cloud else Croco(config),
    lambda config: "Align3R" if config.point_cloud else "DUSt3R",
    completed,
)
load_croco, network_of, empty_network = CROCO.load, CROCO.network_of, CROCO.empty
