"""Networks from checkpoints: made on the meta device with the sizes that the checkpoint's shapes tell, then filled."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from recon4d.weights.files import WeightsFile, load_into, read_weights

Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Loader(Generic[Config, Network]):
    """Makes the networks of a family, ready for inference."""

    config_of: Callable[[WeightsFile], Config]
    """Sizes of the network that a checkpoint belongs to."""
    network: Callable[[Config], Network]
    name: Callable[[Config], str]
    """Of the network, for messages."""
    completed: Callable[[WeightsFile], WeightsFile] = lambda weights: weights
    """Adds tensors that official files leave out."""

    def load(self, path: Path, device: str | torch.device = "cpu") -> Network:
        """Read a checkpoint and make its network.

        Args:
            path: A `.safetensors` file, a folder with `model.safetensors`, or a `.pth`.
            device: Where the network goes.

        Raises:
            ConfigError: The checkpoint cannot be read, or is none of the family's.
        """
        return self.network_of(read_weights(path), device=device)

    def network_of(
        self,
        weights: WeightsFile,
        config: Config | None = None,
        device: str | torch.device = "cpu",
    ) -> Network:
        """The network with a checkpoint's tensors, in 32 bits; they tell its sizes where these are not given.

        Raises:
            ConfigError: A key is missing or unexpected, or a tensor has another shape.
        """
        known = self.config_of(weights) if config is None else config
        network = self.empty(known).to_empty(device=device)
        load_into(network, self.completed(weights), self.name(known))
        return network.eval()

    def empty(self, config: Config) -> Network:
        """The network on the meta device: names and shapes without memory."""
        with torch.device("meta"):
            return self.network(config)
