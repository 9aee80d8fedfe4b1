"""RAFT: equal to torchvision's numbers, one encoding per frame, and a run from a checkpoint to a result."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.parity import Fixture
from benchmarks.parity_raft import compare
from recon4d.config import RunConfig
from recon4d.errors import ConfigError
from recon4d.flow.pairs import window_pairs
from recon4d.flow.raft import load_raft, padded, raft_pairs
from recon4d.flow.raft_network import SMALL, Encoded, Raft
from recon4d.io.result import read_result
from recon4d.pipeline import run
from tests.media import write_images
from tests.synthetic import make_scene


@pytest.fixture
def golden(shared_data: Path) -> Path:
    return shared_data.parent / "golden"


def small(path: Path) -> Path:
    """A checkpoint of random weights whose flow is nearly zero, as a torchvision file has them."""
    torch.manual_seed(0)
    network = Raft(SMALL)
    for parameter in network.update_block.flow_head.conv2.parameters():
        torch.nn.init.zeros_(parameter)
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_features_and_flow_are_those_of_torchvision(golden: Path, name: str) -> None:
    compared = compare(Fixture.read(golden / f"{name}.npz"))
    assert len(compared) == 5 and all(one.holds for one in compared)


def test_every_frame_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = load_raft(small(tmp_path / "raft.pth")), []
    encode = network.encode

    def counted(image: torch.Tensor) -> Encoded:
        asked.append(len(image))
        return encode(image)

    monkeypatch.setattr(network, "encode", counted)
    images = np.random.default_rng(0).integers(0, 255, (12, 136, 136, 3), np.uint8)
    found = list(raft_pairs(network, images, window_pairs(12)))
    assert asked == [1] * 12
    assert [index for index, _ in found] == list(range(len(window_pairs(12))))
    (flow, sure) = found[0][1]
    assert flow.shape == (2, 68, 68, 2) and sure.shape == (2, 68, 68)
    assert np.abs(flow).max() == 0  # the head's weights are zero


def test_images_are_padded_on_both_sides_and_cut_back() -> None:
    image = torch.arange(3 * 130 * 141.0).reshape(1, 3, 130, 141)
    wide = padded(image)
    assert wide.shape == (1, 3, 136, 144)
    assert torch.equal(wide[..., 3:133, 1:142], image)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"do not fit RAFT small.*106 missing keys"):
        load_raft(tmp_path / "other.safetensors")


def test_a_run_with_raft_of_random_weights_ends_in_a_result(tmp_path: Path) -> None:
    """Its flow says that nothing moves, which is what a tripod sees: poses are there, and depth is declared unknown."""
    scene = make_scene(6, (192, 144), seed=3)
    config = RunConfig(
        input=write_images(tmp_path / "images", scene.video.images),
        out=tmp_path / "out",
        flow="raft",
        weights=(f"raft={small(tmp_path / 'raft.pth')}",),
        masks="none",
        loop=0,
    )
    result = read_result(run(config))
    assert result.run["flow"] == "raft"
    assert "no_parallax" in str(result.run["warnings"])


def test_raft_without_weights_is_refused(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", make_scene(2, (64, 48), seed=0).video.images)
    with pytest.raises(ConfigError, match="--flow raft is a network, and no weights were given"):
        run(RunConfig(input=images, flow="raft", out=tmp_path / "out"))
