"""Checkpoint files: read as data, never executed, and loaded into a network with every key accounted for.

Numbers here that name no source were set by hand.
"""

import argparse
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from recon4d.core.errors import ConfigError

NESTED = ("model", "model_state_dict", "state_dict")
"""Keys under which official `.pth` files keep their state dict."""
_SCALAR: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
PLAIN: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""Plain values that official files hold beside tensors: options, and numbers of numpy 1 and 2."""
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""How PyTorch names what a file wants to have imported."""
COUNTER = "num_batches_tracked"
"""End of the key of a batch normalisation's counter, which only training looks at."""
SHOWN_KEYS = 4
"""Most keys that a message names."""


@dataclass(frozen=True)
class WeightsFile:
    """What a checkpoint holds."""

    path: Path
    tensors: Mapping[str, Tensor]
    """The state dict under the file's own names."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else is in the file: plain values of a `.pth`, the metadata of a `.safetensors`."""


def read_weights(path: Path) -> WeightsFile:
    """Read a `.safetensors` file, a folder with `model.safetensors`, or a `.pth` as data alone.

    Raises:
        ConfigError: Not there, not a checkpoint, truncated, or in need of code that it brings along.
    """
    try:
        file = path / "model.safetensors" if path.is_dir() else path
        is_there = file.is_file()
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not is_there:
        what = "are no file" if file.exists() else "are not there"
        raise ConfigError(
            f"the weights {file} {what}; give the path of a .safetensors or .pth file"
        )
    return _read_safetensors(file) if file.suffix == ".safetensors" else _read_pth(file)


def _read_safetensors(path: Path) -> WeightsFile:
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            return WeightsFile(path, tensors, stored.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, f"no complete safetensors file: {error}") from error


def _read_pth(path: Path) -> WeightsFile:
    stored = _load_data(path)
    if not isinstance(stored, dict):
        raise _unreadable(path, f"it holds a {type(stored).__name__} instead of a state dict")
    inner = next((key for key in NESTED if isinstance(stored.get(key), dict)), None)
    state = stored if inner is None else stored[inner]
    extra = {} if inner is None else {k: v for k, v in stored.items() if k != inner}
    odd = [
        str(name)
        for name, value in state.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if odd or not state:
        raise _unreadable(path, f"it holds no state dict ({_some(odd) or 'empty'})")
    return WeightsFile(path, state, extra)


def _load_data(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols, of TorchScript
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file makes of the reader is not foreseeable
        asked = _GLOBAL.search(str(error))
        if asked is not None:
            raise _unreadable(
                path, f"it wants {asked[1]}, code that a checkpoint has no need of; it was not run"
            ) from error
        kind = type(error).__name__
        raise _unreadable(path, f"it is no complete PyTorch checkpoint: {kind}") from error


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"the weights {path} cannot be read ({why}); fetch the file again, or give another"
    )


def load_into(
    network: nn.Module,
    weights: WeightsFile,
    what: str,
    unused: frozenset[str] = frozenset(),
) -> None:
    """Copy a checkpoint into a network whose parameters have the checkpoint's names.

    Args:
        network: Gets the tensors, converted to its own precision.
        weights: The checkpoint.
        what: Name of the model, for messages.
        unused: Keys of the official checkpoint that no network needs.

    Raises:
        ConfigError: A key is missing or unexpected, a tensor has another shape or kind, or numbers that are not finite.
    """
    given = {name: value for name, value in weights.tensors.items() if name not in unused}
    check_fit(network, weights, what, unused)
    network.load_state_dict(given, strict=False)  # counters of norms alone may be missing


def check_fit(
    network: nn.Module,
    weights: WeightsFile,
    what: str,
    unused: frozenset[str] = frozenset(),
) -> None:
    """Raise a `ConfigError` where a checkpoint does not fit a network, which may be on the device `meta`.

    Args:
        network: Has the names and shapes that are needed.
        weights: The checkpoint.
        what: Name of the model, for messages.
        unused: Keys of the official checkpoint that no network needs.
    """
    given = {name: value for name, value in weights.tensors.items() if name not in unused}
    faults = _faults(given, network.state_dict())
    if faults:
        raise ConfigError(
            f"the weights {weights.path} do not fit {what}: {'; '.join(faults)}; give a checkpoint of {what}"
        )


def _faults(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    missing = sorted(name for name in wanted.keys() - given.keys() if not name.endswith(COUNTER))
    unexpected = sorted(given.keys() - wanted.keys())
    common = sorted(wanted.keys() & given.keys())
    odd = [fault for name in common if (fault := _fault(name, given[name], wanted[name]))]
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing keys ({_some(missing)})")
    if unexpected:
        faults.append(f"{len(unexpected)} unexpected keys ({_some(unexpected)})")
    if odd:
        faults.append(_some(odd))
    return faults


def _fault(name: str, given: Tensor, wanted: Tensor) -> str | None:
    """What is wrong with a tensor of a checkpoint, in words."""
    if given.shape != wanted.shape:
        return f"{name} has shape {tuple(given.shape)}, needed is {tuple(wanted.shape)}"
    if given.is_floating_point() != wanted.is_floating_point() or given.is_complex():
        return f"{name} holds {given.dtype}, needed is {wanted.dtype}".replace("torch.", "")
    if given.is_floating_point() and not _is_finite(given):
        return f"{name} has values that are no finite numbers"
    return None


def _is_finite(values: Tensor) -> bool:
    """Whether all are, without a copy as large as they are."""
    if values.numel() == 0:
        return True
    if values.element_size() < 2:
        values = values.float()
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(values))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
    return ", ".join(names[:SHOWN_KEYS]) + more


def shape_of(
    tensors: Mapping[str, Tensor], name: str, dimensions: int, family: str, advice: str = ""
) -> tuple[int, ...]:
    """Shape of a tensor of a checkpoint, from which its network's sizes follow.

    Raises:
        ConfigError: It is not there, or has another number of dimensions: no checkpoint of that family.
    """
    found = tuple(tensors[name].shape) if name in tensors else ()
    if len(found) != dimensions:
        what = f"has shape {found}" if name in tensors else "is not there"
        raise ConfigError(
            f"no checkpoint of {family}: {name} {what}, {dimensions} dimensions were needed{advice}"
        )
    return found


def count_blocks(tensors: Mapping[str, Tensor], name: str) -> int:
    """How many blocks `name.0`, `name.1`, ... a checkpoint has."""
    pattern = re.compile(rf"{re.escape(name)}\.(\d+)\.")
    return len({match[1] for key in tensors if (match := pattern.match(key))})
