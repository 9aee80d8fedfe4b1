"""DUSt3R, MonST3R and Align3R at their real size, from checkpoints with exactly the official names and shapes.

2.4 GB on disk, one checkpoint at a time, 6 GB of memory.
"""

import argparse
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recon4d.cli.info import describe
from recon4d.networks.croco.align3r import Align3R
from recon4d.networks.croco.load import load_croco
from recon4d.networks.croco.pairs import predict_pairs
from tests.test_croco import OFFICIAL
from tests.test_parity_croco import listed, needs_keys

SCALE = 0.02
"""Of the random values: activations stay finite through 36 blocks."""
TWINS = re.compile(r"scratch\.layer_rn\.(\d)\.")


def full_size(name: str) -> dict[str, Tensor]:
    """Random values under the names of a list of keys; the two names of one tensor have the same."""
    g, state = torch.Generator().manual_seed(0), {}
    for pattern, (shape, count) in listed(name).items():
        for number in range(count):
            key = re.sub(r"\bN\b", str(number), pattern)
            state[key] = SCALE * torch.randn(shape, generator=g)
    for key in [key for key in state if TWINS.search(key)]:
        state[key] = state[TWINS.sub(lambda found: f"scratch.layer{int(found[1]) + 1}_rn.", key)]
    return state


def save(path: Path, state: dict[str, Tensor]) -> None:
    """As the authors do: a `.pth` with the class string, safetensors without the second names."""
    if path.suffix == ".pth":
        torch.save({"args": argparse.Namespace(model=OFFICIAL), "model": state}, path)
    else:
        save_file({k: v for k, v in state.items() if not TWINS.search(k)}, path)


@needs_keys
@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("name", "tensors", "millions"), [("dust3r", 1009, 577.8), ("align3r", 1069, 609.7)]
)
def test_a_full_size_checkpoint_loads_and_predicts(
    tmp_path: Path, name: str, tensors: int, millions: float, suffix: str
) -> None:
    """MonST3R's names and shapes are DUSt3R's."""
    path = tmp_path / f"full.{suffix}"
    try:
        state = full_size(name)
        assert len(state) == tensors
        save(path, state)
        del state
        if suffix == "safetensors":
            assert ("model:      Align3R" if name == "align3r" else "MonST3R") in describe(path)
        network = load_croco(path)
    finally:
        path.unlink(missing_ok=True)
    assert isinstance(network, Align3R) == (name == "align3r")
    numbers = sum(value.numel() for value in network.state_dict().values())
    assert numbers == pytest.approx(millions * 1e6, 1e-4)
    images = torch.rand((2, 3, 32, 48), generator=torch.Generator().manual_seed(1)) * 2 - 1
    points = torch.rand(2, 32, 48, 3) if name == "align3r" else None
    (pair,) = predict_pairs(network, images, [(0, 1)], points=points)
    assert pair.points2.shape == (32, 48, 3) and bool(pair.points1.isfinite().all())
    assert bool(pair.points2.isfinite().all()) and bool((pair.confidence1 >= 1).all())
