"""pi3 at its real size, from checkpoints with exactly the official names and shapes. 4 GB on disk, 8 GB of memory."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recon4d.cli.info import describe
from recon4d.networks.pi3.load import load_pi3
from tests.test_parity_croco import listed, needs_keys


def full_size(name: str) -> dict[str, Tensor]:
    """Random values under the names of a list of keys."""
    g, state = torch.Generator().manual_seed(0), {}
    for pattern, (shape, count) in listed(name).items():
        for number in range(count):
            key = re.sub(r"\bN\b", str(number), pattern)
            state[key] = 0.02 * torch.randn(shape, generator=g)
    state["image_std"] = 1 + state["image_std"].abs()
    return state


@needs_keys
@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_full_size_checkpoint_loads_and_predicts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"full.{suffix}"
    try:
        (save_file if suffix == "safetensors" else torch.save)(full_size("pi3"), path)
        if suffix == "safetensors":
            assert "1210 tensors\nmodel:      pi3" in describe(path)
        network = load_pi3(path)
    finally:
        path.unlink(missing_ok=True)
    assert sum(value.numel() for value in network.state_dict().values()) == pytest.approx(
        958.7e6, 1e-4
    )
    with torch.no_grad():
        found = network(torch.rand(1, 2, 3, 42, 56))
    assert found.points.shape == (1, 2, 42, 56, 3) and bool(found.points.isfinite().all())
    assert bool(found.world_from_cam.isfinite().all()) and bool(found.confidence.isfinite().all())
