"""GeoMotion: the official numbers, what it is given, and a run with its masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from benchmarks.parity import Fixture
from benchmarks.peers.geomotion import compare
from recon4d.core.errors import ConfigError
from recon4d.flow import raft as raft_module
from recon4d.flow.raft import load_raft
from recon4d.masks.geomotion import chunks, motion_probability, network_input
from recon4d.masks.geomotion.flow import flow_magnitude, largest_magnitude, square_images
from recon4d.masks.geomotion.network import GeoMotionConfig, empty_geomotion, load_geomotion
from recon4d.networks.pi3.network import IMAGE_MEAN
from recon4d.results.folder import read_result
from recon4d.run.pipeline import run
from recon4d.settings.config import RunConfig
from tests import needs
from tests.media import write_images
from tests.synthetic import make_scene
from tests.test_cuda import Indexing
from tests.test_parity_croco import counted, errors, golden, listed, needs_golden, needs_keys
from tests.tiny_geomotion import TINY, save_raft, save_tiny, tiny
from tests.tiny_sam2 import save_tiny_sam2

CPU = torch.device("cpu")
FRAMES, SIDE = 5, 84


def pictures(frames: int = FRAMES, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, side, side, 3), np.uint8)


@needs_golden
def test_every_array_of_the_official_network_is_met() -> None:
    compared = compare(golden("geomotion"))
    assert len(compared) == 40 and not errors(compared)


@needs_golden
@pytest.mark.parametrize("name", ["flowmag/forward", "a/in/flow_mag", "sd/conf_head.proj.bias"])
def test_another_input_or_weight_is_noticed(name: str) -> None:
    fixture = golden("geomotion")
    changed = dict(fixture.arrays) | {name: np.roll(fixture.arrays[name], 1, 0) + 1}
    assert errors(compare(Fixture(fixture.path, changed, fixture.described)))


@needs_keys
def test_the_full_size_network_has_exactly_the_official_keys() -> None:
    state = empty_geomotion(GeoMotionConfig()).state_dict()
    repeated = r"^((?:\w+\.)?(?:blocks|decoder|res_conv))\.\d+\."
    assert counted(state, repeated) == listed("geomotion")
    assert len(state) == 1220
    assert empty_geomotion(GeoMotionConfig()).side_px == 518


def test_files_of_both_kinds_give_the_network_that_was_saved(tmp_path: Path) -> None:
    network, images, moved = tiny(), pictures(), np.ones((FRAMES, SIDE, SIDE), np.float32)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    wanted = motion_probability(network, images, moved)
    for path in (save_tiny(tmp_path), tmp_path):
        found = motion_probability(load_geomotion(path), images, moved)
        assert np.array_equal(found, wanted)


def test_other_weights_are_refused_with_what_they_are(tmp_path: Path) -> None:
    state = tiny().state_dict()
    alone = {k: v for k, v in state.items() if "motion_aware" not in k}
    torch.save(alone, tmp_path / "pi3.pth")
    with pytest.raises(ConfigError, match=r"pi3\.pth are of pi3 alone: GeoMotion's motion_aware"):
        load_geomotion(tmp_path / "pi3.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="are of something else"):
        load_geomotion(tmp_path / "a.pth")
    del state["motion_aware_decoder.fusion_proj.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(ConfigError, match="do not fit GeoMotion: 1 missing keys"):
        load_geomotion(tmp_path / "less.pth")
    with pytest.raises(ConfigError, match="blocks 5 and 15 of pi3's decoder, which has 14"):
        GeoMotionConfig(replace(TINY.pi3, depth=14))


def test_images_are_normalised_before_the_network_normalises_them() -> None:
    """As its weights were trained: colours of the mean become 0 first, and then less than 0."""
    mean = np.round(np.array(IMAGE_MEAN) * 255).astype(np.uint8)
    given = network_input(np.tile(mean, (1, SIDE, SIDE, 1)), CPU)
    assert given.abs().max() < 0.01  # rounding to 8 bits
    network, seen = tiny(), []
    network.encoder.patch_embed.register_forward_hook(lambda m, x, y: seen.append(x[0]))
    with torch.no_grad():
        network.look(given)
    wanted = -network.image_mean / network.image_std
    torch.testing.assert_close(seen[0].mean((2, 3)), wanted[..., 0, 0], atol=0.05, rtol=0)


def test_squares_keep_the_whole_picture() -> None:
    wide = np.zeros((2, 40, 100, 3), np.uint8)
    wide[:, :, 50:] = 200
    square = square_images(wide, 60)
    assert square.shape == (2, 60, 60, 3)
    assert (square[:, :, :28] == 0).all() and (square[:, :, 32:] == 200).all()


def test_the_larger_flow_of_both_neighbours_counts_and_ends_have_one() -> None:
    flows = torch.zeros(2, 2, 3, 4, 2)
    flows[0, 0, ..., 0], flows[0, 1, ..., 1] = 3, -4  # 0 to 1, and back
    flows[1, 0, ..., 0], flows[1, 1] = 2, torch.tensor([3.0, 4.0])  # 1 to 2, and back
    found = largest_magnitude(enumerate(flows), 3, (3, 4))
    assert [frame.min() for frame in found] == [frame.max() for frame in found] == [3, 4, 5]


def test_each_frame_is_encoded_once_for_both_of_its_flows(tmp_path: Path) -> None:
    raft = load_raft(save_raft(tmp_path), CPU)
    count = 0

    def counted_one(*_: object) -> None:
        nonlocal count
        count += 1

    raft.feature_encoder.register_forward_hook(counted_one)
    found = flow_magnitude(raft, pictures(4), 1)
    assert found.shape == (4, SIDE, SIDE) and found.dtype == np.float32
    assert count == 4 and np.isfinite(found).all() and found.any()


def test_chunks_are_equal_and_none_has_a_single_frame() -> None:
    for frames in (2, 15, 16, 17, 33, 100):
        parts = chunks(frames)
        sizes = [part.stop - part.start for part in parts]
        assert sum(sizes) == frames and parts[0].start == 0
        assert max(sizes) <= 16 and max(sizes) - min(sizes) <= 1 and min(sizes) > 1
    assert chunks(17) == [slice(0, 8), slice(8, 17)]


def test_frames_of_a_chunk_see_each_other_and_no_others() -> None:
    network, images = tiny(), pictures(18)
    moved = np.ones((18, SIDE, SIDE), np.float32)
    before = motion_probability(network, images, moved)
    images[0] = 0
    after = motion_probability(network, images, moved)
    assert all((after[k] != before[k]).any() for k in range(9))
    assert np.array_equal(after[9:], before[9:])


def test_weights_that_make_no_numbers_are_refused() -> None:
    network = tiny()
    torch.nn.init.constant_(network.conf_head.proj.bias, float("nan"))
    with pytest.raises(ConfigError, match="GeoMotion's masks are not finite"):
        motion_probability(network, pictures(2), np.ones((2, SIDE, SIDE), np.float32))


class Whole(nn.Module):
    """Images and flow to logits in one call."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny()

    def forward(self, images: Tensor, moved_px: Tensor) -> Tensor:
        return self.network.motion(self.network.look(images), moved_px)


def given() -> tuple[Tensor, Tensor]:
    return network_input(pictures(3), CPU), torch.ones(3, SIDE, SIDE)


@torch.no_grad()
def test_16_bits_change_little_and_end_in_32() -> None:
    whole = Whole()
    exact = whole(*given())
    with torch.autocast("cpu", torch.bfloat16):
        found = whole(*given())
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) < 0.05 * float(exact.abs().max())


@torch.no_grad()
def test_nothing_is_left_on_the_cpu_when_cuda_computes() -> None:
    whole, inputs = Whole(), given()
    # the network's own parameters are replaced, and must not be converted before
    with FakeTensorMode(allow_non_fake_inputs=True), Indexing():
        state = {k: torch.empty(v.shape, device="cuda") for k, v in whole.state_dict().items()}
        there = tuple(torch.empty(value.shape, device="cuda") for value in inputs)
        assert torch.func.functional_call(whole, state, there).device.type == "cuda"


@pytest.mark.gpu
@needs.cuda
def test_cuda_finds_the_same_in_16_bits() -> None:
    moved = np.ones((3, SIDE, SIDE), np.float32)
    found = motion_probability(tiny().to("cuda"), pictures(3), moved)
    np.testing.assert_allclose(found, motion_probability(tiny(), pictures(3), moved), atol=0.05)


def settings(tmp_path: Path, *weights: str) -> RunConfig:
    made = make_scene(6, (128, 96), seed=3, plain_lens=True)
    return RunConfig(
        input=write_images(tmp_path / "images", made.video.images),
        out=tmp_path / "out",
        masks="geomotion",
        refine="none",
        weights=weights,
        loop=0,
        workers=1,
    )


@pytest.mark.parametrize(
    "refine",
    [
        "none",
        pytest.param("edges", marks=pytest.mark.slow),
        pytest.param("sam2", marks=pytest.mark.slow),
    ],
)
def test_a_run_takes_its_masks_from_checkpoints(
    tmp_path: Path, refine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raft_module, "UPDATES", 2)
    asked = settings(tmp_path, f"geomotion={save_tiny(tmp_path)}", f"raft={save_raft(tmp_path)}")
    if refine == "sam2":
        (tmp_path / "sam2").mkdir()
        folder = save_tiny_sam2(tmp_path / "sam2")
        asked = replace(asked, weights=(*asked.weights, f"sam2={folder}"))
    result = read_result(run(replace(asked, refine=refine)))
    assert result.run["masks"] == "geomotion" and result.run["refine"] == refine
    assert "features" in str(result.run["stages"])
    if refine == "none":  # random weights find specks, which refinement may drop
        assert 0 < result.is_dynamic.mean() < 0.9


def test_what_is_missing_is_named_before_anything_is_written(tmp_path: Path) -> None:
    asked = settings(tmp_path)
    with pytest.raises(ConfigError, match="weights of geomotion are not on this machine"):
        run(asked)
    only = replace(asked, weights=(f"geomotion={save_tiny(tmp_path)}",))
    with pytest.raises(
        ConfigError, match="--masks geomotion measures flow by RAFT, but the weights of raft-large"
    ):
        run(only)
    assert not list(tmp_path.glob("*out*"))
