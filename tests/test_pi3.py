"""pi3: the network equals the official one, its sizes are read from checkpoints, and frames have no order."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch._subclasses import FakeTensorMode

from benchmarks.peers.pi3 import compare
from recon4d.cli.info import describe
from recon4d.core.errors import ConfigError, InputError
from recon4d.networks.pi3.config import Pi3Config, config_of
from recon4d.networks.pi3.load import empty_network, load_pi3
from tests import needs
from tests.pi3_world import TINY, tiny
from tests.test_cuda import Indexing
from tests.test_parity_croco import counted, errors, golden, listed, needs_golden, needs_keys


def images(sequences: int, views: int, seed: int = 0) -> Float[Tensor, "batch views 3 28 42"]:
    return torch.rand((sequences, views, 3, 28, 42), generator=torch.Generator().manual_seed(seed))


@needs_golden
def test_every_array_of_the_official_network_is_met() -> None:
    compared = compare(golden("pi3"))
    assert len(compared) == 44 and not errors(compared)


@needs_keys
def test_the_full_size_network_has_exactly_the_official_keys() -> None:
    state = empty_network(Pi3Config()).state_dict()
    repeated = r"^((?:\w+\.)?(?:blocks|decoder|res_conv))\.\d+\."
    assert counted(state, repeated) == listed("pi3")
    assert len(state) == 1210


def test_sizes_come_from_the_shapes_of_a_checkpoint(tmp_path: Path) -> None:
    network = tiny()
    assert config_of(network.state_dict()) == TINY
    torch.save({"model_state_dict": network.state_dict()}, tmp_path / "tiny.pth")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    with torch.no_grad():
        wanted = network(images(1, 2))
        for path in (tmp_path / "tiny.pth", tmp_path):
            assert torch.equal(load_pi3(path)(images(1, 2)).local_points, wanted.local_points)


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    state = tiny().state_dict()
    torch.save({**state, "motion.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(ConfigError, match=r"do not fit pi3: 1 unexpected keys \(motion.weight\)"):
        load_pi3(tmp_path / "more.pth")
    torch.save({k: v for k, v in state.items() if k != "register_token"}, tmp_path / "less.pth")
    with pytest.raises(ConfigError, match="no checkpoint of pi3: register_token is not there"):
        load_pi3(tmp_path / "less.pth")
    with pytest.raises(ConfigError, match="16 channels cannot be split into heads of 12"):
        replace(TINY, head_dim=12)
    with pytest.raises(ConfigError, match="give an even number"):
        replace(TINY, depth=3)
    with pytest.raises(ConfigError, match="registers must be positive"):
        replace(TINY, registers=0)


def test_images_that_are_no_whole_patches_are_refused() -> None:
    with pytest.raises(InputError, match="images of 40x28 px were given; sides that are multiples"):
        tiny().encode(torch.zeros(1, 3, 28, 40))


@torch.no_grad()
def test_sequences_of_a_batch_do_not_see_each_other() -> None:
    network, given = tiny(), images(2, 3)
    both, second = network(given), network(given[1:])
    torch.testing.assert_close(both.local_points[1:], second.local_points)
    torch.testing.assert_close(both.world_from_cam[1:], second.world_from_cam)
    assert not torch.allclose(network(given[1:, :2]).confidence, second.confidence[:, :2])


@torch.no_grad()
def test_frames_have_no_order() -> None:
    network, given, order = tiny(), images(1, 4), [2, 0, 3, 1]
    one, other = network(given), network(given[:, order])
    torch.testing.assert_close(one.points[:, order], other.points)
    torch.testing.assert_close(one.confidence[:, order], other.confidence)


@torch.no_grad()
def test_the_blocks_that_are_asked_for_are_kept() -> None:
    network, given = tiny(), images(2, 3)
    decoded = network.decode(network.encode(given.flatten(0, 1)), (2, 3), sequences=2, keep=(1, 3))
    assert sorted(decoded.kept) == [1, 3]
    assert decoded.kept[1].shape == (6, 3 + 6, 16)
    assert torch.equal(decoded.last[..., 16:], decoded.kept[3])
    assert network.camera_tokens(decoded).shape == (6, 3 + 6, 10)
    assert decoded.positions[0].tolist()[:5] == [[0, 0]] * 3 + [[1, 1], [1, 2]]


def test_info_names_a_checkpoint_of_pi3(tmp_path: Path) -> None:
    save_file(tiny().state_dict(), tmp_path / "some.safetensors")
    assert "model:      pi3" in describe(tmp_path / "some.safetensors")


@torch.no_grad()
def test_16_bits_change_little_and_end_in_32() -> None:
    network, given = tiny(), images(1, 3)
    exact = network(given)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(given)
    for name in ("local_points", "confidence", "world_from_cam"):
        one, other = getattr(found, name), getattr(exact, name)
        assert one.dtype == torch.float32
        assert float((one - other).abs().max()) < 0.02 * float(other.abs().max())


@torch.no_grad()
def test_nothing_is_left_on_the_cpu_when_cuda_computes() -> None:
    network, given = tiny(), images(1, 3)
    # the network's own parameters are replaced, and must not be converted before
    with FakeTensorMode(allow_non_fake_inputs=True), Indexing():
        state = {k: torch.empty(v.shape, device="cuda") for k, v in network.state_dict().items()}
        there = torch.empty(given.shape, device="cuda")
        found = torch.func.functional_call(network, state, (there,))
        assert found.local_points.device.type == found.world_from_cam.device.type == "cuda"


@pytest.mark.gpu
@needs.cuda
@torch.no_grad()
def test_cuda_says_the_same_in_16_bits() -> None:
    network, given = tiny(), images(1, 3)
    exact = network(given).local_points
    with torch.autocast("cuda", torch.bfloat16):
        found = network.to("cuda")(given.to("cuda")).local_points.cpu()
    assert float((found - exact).abs().max()) < 0.02 * float(exact.abs().max())
