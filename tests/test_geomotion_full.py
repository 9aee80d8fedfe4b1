"""GeoMotion at its real size, from checkpoints with the official names and shapes. 4 GB on disk, 8 GB of memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recon4d.cli.info import describe
from recon4d.masks.geomotion import motion_probability
from recon4d.masks.geomotion.network import load_geomotion
from tests.test_parity_croco import needs_keys
from tests.test_pi3_full import full_size


@needs_keys
@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_full_size_checkpoint_loads_and_predicts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"full.{suffix}"
    try:
        if suffix == "safetensors":
            save_file(full_size("geomotion"), path)
            assert "1220 tensors\nmodel:      GeoMotion" in describe(path)
        else:
            torch.save({"model_state_dict": full_size("geomotion"), "best_iou": 0.8}, path)
        network = load_geomotion(path)
    finally:
        path.unlink(missing_ok=True)
    numbers = sum(value.numel() for value in network.state_dict().values())
    assert numbers == pytest.approx(972.7e6, 1e-4) and network.side_px == 518
    images = np.random.default_rng(0).integers(0, 256, (2, 56, 56, 3), np.uint8)
    found = motion_probability(network, images, np.ones((2, 56, 56), np.float32))
    assert found.shape == (2, 56, 56) and np.ptp(found) > 0
