"""Files of D2MIF weights: what ships with the package, and what users train.

Numbers here that name no source were set by hand.
"""

import hashlib
import json
import reprlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import save_file

from recon4d.core.errors import ConfigError
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.network import D2mif, fold_norms
from recon4d.weights.files import WeightsFile, check_fit, load_into, read_weights

SHIPPED = Path(__file__).parent / "data" / "d2mif.safetensors"
"""The weights that the package holds; `data/d2mif.md` says how they were made."""
SHIPPED_SHA256 = "a07f24509b506ef86f63f1b805cb0c1375bbd3e52fbb02da41380adf2ab424ad"
"""Of that file."""
WHAT = "D2MIF as its own metadata describe it"
LARGEST_CALIBRATION = 1e6
"""Of its numbers: weights of log-odds, which are about 1."""


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


def load_weights(path: Path | None = None) -> Trained:
    """Read weights.

    Args:
        path: A file of `save_weights`; the shipped one if not given.

    Raises:
        ConfigError: The file is missing, damaged, or of another network.
    """
    if path is None:
        _check_shipped()
    weights = _read(path or SHIPPED)
    config, calibration = _config(weights), _calibration(weights)
    with torch.device("meta"):  # takes no memory, whatever the file says
        check_fit(D2mif(config), weights, WHAT)
    network = D2mif(config)
    load_into(network, weights, WHAT)
    with torch.no_grad():
        return Trained(fold_norms(network), calibration)


def _read(source: Path) -> WeightsFile:
    """A file of `save_weights`."""
    weights = read_weights(source)
    if not isinstance(weights.extra.get("d2mif"), str):
        raise ConfigError(
            f"{source} holds no D2MIF network (its metadata name none); give a file that `recon4d train d2mif` wrote"
        )
    return weights


def _config(weights: WeightsFile) -> NetworkConfig:
    try:
        return NetworkConfig.from_json(weights.extra["d2mif"])
    except ConfigError as error:
        raise _wrong(weights, str(error)) from error


def _calibration(weights: WeightsFile) -> Calibration:
    try:
        values = json.loads(weights.extra.get("calibration", "null"))
    except (ValueError, RecursionError):
        values = None
    names = {each.name for each in fields(Calibration)}
    if not isinstance(values, dict) or values.keys() != names:
        raise _wrong(weights, f"its calibration needs {', '.join(sorted(names))}")
    for name, value in values.items():
        if type(value) not in (int, float) or not abs(value) <= LARGEST_CALIBRATION:
            raise _wrong(
                weights,
                f"{name} of its calibration is {reprlib.repr(value)}, needed is a number to {LARGEST_CALIBRATION:g}",
            )
    return Calibration(**{name: float(value) for name, value in values.items()})


def _wrong(weights: WeightsFile, why: str) -> ConfigError:
    return ConfigError(
        f"the weights {weights.path} are none of D2MIF: {why}; give a file that `recon4d train d2mif` wrote"
    )


def _check_shipped() -> None:
    if not SHIPPED.is_file():
        raise ConfigError("the package's own D2MIF weights are missing; install recon4d again")
    if hashlib.sha256(SHIPPED.read_bytes()).hexdigest() != SHIPPED_SHA256:
        raise ConfigError("the package's own D2MIF weights are damaged; install recon4d again")
