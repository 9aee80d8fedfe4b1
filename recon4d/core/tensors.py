"""Frozen data types whose fields are tensors."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Data = TypeVar("Data")


def map_tensors(data: Data, change: Callable[[Tensor], Tensor]) -> Data:
    """A copy of a dataclass with all of its tensors changed, also in dataclasses and tuples of them inside it."""
    changed: dict[str, object] = {}
    for name, value in vars(data).items():
        if isinstance(value, Tensor):
            changed[name] = change(value)
        elif dataclasses.is_dataclass(value):
            changed[name] = map_tensors(value, change)
        elif isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value):
            changed[name] = tuple(map_tensors(item, change) for item in value)
    return dataclasses.replace(data, **changed)  # type: ignore[type-var]


def on_device(data: Data, device: torch.device) -> Data:
    """The same on another device."""
    return map_tensors(data, lambda tensor: tensor.to(device))
