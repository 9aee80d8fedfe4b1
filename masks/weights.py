"""Files of D2MIF weights: what ships with the package, and what users train."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recon4d.errors import ConfigError
from recon4d.masks.network import D2mif, NetworkConfig, fold_norms

SHIPPED = Path(__file__).parent / "weights" / "d2mif.safetensors"
"""The weights that the package holds; `weights/d2mif.md` says how they were made."""
SHIPPED_SHA256 = "a07f24509b506ef86f63f1b805cb0c1375bbd3e52fbb02da41380adf2ab424ad"
"""Of that file."""


@dataclass(frozen=True)
class Calibration:
    """Adds the log-odds of the network and of the evidence that needs none, so that the sum means what it says.

    What the network learned and what `recon4d.masks.evidence` computes err in different places; the weights of both
    follow from clips that the network was not trained on.
    """

    scale: float = 1.0
    """Weight of the network's log-odds."""
    evidence: float = 0.0
    """Weight of the evidence's; 0 for a network that is to do without geometry."""
    shift: float = 0.0

    def __call__(
        self,
        network: Float32[np.ndarray, "*shape"],
        evidence: Float32[np.ndarray, "*shape"],
    ) -> Float32[np.ndarray, "*shape"]:
        """Calibrated log-odds."""
        return np.asarray(self.scale * network + self.evidence * evidence + self.shift, np.float32)


@dataclass(frozen=True)
class Trained:
    """A network that is ready for inference."""

    network: D2mif
    calibration: Calibration


def save_weights(path: Path, network: D2mif, calibration: Calibration) -> None:
    """Write a file that `load_weights` reads: half precision, and the configuration as metadata."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    metadata = {"d2mif": network.config.to_json(), "calibration": json.dumps(vars(calibration))}
    save_file(state, path, metadata)


def read_config(path: Path) -> NetworkConfig:
    """What a file of weights says of its network.

    Raises:
        ConfigError: The file is missing, damaged, or of another network.
    """
    return NetworkConfig.from_json(_read(path)[0]["d2mif"])


def load_weights(path: Path | None = None) -> Trained:
    """Read weights.

    Args:
        path: A file of `save_weights`; the shipped one if not given.

    Raises:
        ConfigError: The file is missing, damaged, or of another network.
    """
    if path is None:
        _check_shipped()
    source = path or SHIPPED
    metadata, state = _read(source)
    network = D2mif(NetworkConfig.from_json(metadata["d2mif"]))
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ConfigError(
            f"{source} does not fit its own configuration: {len(missing)} weights are missing, "
            f"{len(unexpected)} unknown (first: {[*missing, *unexpected][0]})"
        )
    with torch.no_grad():
        return Trained(fold_norms(network), Calibration(**json.loads(metadata["calibration"])))


def _read(source: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of `save_weights`."""
    if not source.is_file():
        raise ConfigError(
            f"weights {source} are not there; give a file that `recon4d train d2mif` wrote"
        )
    try:
        with safe_open(source, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ConfigError(f"{source} is no whole safetensors file ({error})") from error
    if "d2mif" not in metadata:
        raise ConfigError(
            f"{source} holds no D2MIF network (its metadata name none); give a file that `recon4d train d2mif` wrote"
        )
    return metadata, state


def _check_shipped() -> None:
    if not SHIPPED.is_file():
        raise ConfigError("the package's own D2MIF weights are missing; install recon4d again")
    if hashlib.sha256(SHIPPED.read_bytes()).hexdigest() != SHIPPED_SHA256:
        raise ConfigError("the package's own D2MIF weights are damaged; install recon4d again")
