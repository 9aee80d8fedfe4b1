"""Networks of the CroCo family: descriptions, checkpoints, and pairs in batches."""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recon4d.core.errors import ConfigError, DegenerateError, InputError
from recon4d.networks.croco.align3r import Align3R, input_points, normalised_points
from recon4d.networks.croco.blocks import Attention, CrossAttention
from recon4d.networks.croco.config import (
    CrocoConfig,
    config_of_arguments,
    config_of_tensors,
    parse_class_string,
)
from recon4d.networks.croco.input import centre_crop, input_image, resample
from recon4d.networks.croco.load import load_croco
from recon4d.networks.croco.network import Croco, moving_tokens
from recon4d.networks.croco.pairs import (
    PairInference,
    PairPrediction,
    decode_pairs,
    encode_images,
    pair_bytes,
    predict_pairs,
)
from recon4d.networks.transformer import grid_positions, rope_angles
from tests import needs

OFFICIAL = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='dpt', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, "
    "landscape_only=False)"
)
TINY = CrocoConfig(
    enc_dim=24,
    enc_depth=1,
    enc_heads=2,
    dec_dim=16,
    dec_depth=4,
    dec_heads=2,
    feature_dim=8,
    last_dim=4,
    layer_dims=(4, 5, 6, 7),
)
TINY_STRING = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', head_type='dpt', enc_embed_dim=24, enc_depth=1, "
    "enc_num_heads=2, dec_embed_dim=16, dec_depth=4, dec_num_heads=2)"
)
TINY_ARGUMENTS = {
    "pos_embed": "RoPE100",
    "head_type": "dpt",
    "enc_embed_dim": 24,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "dec_embed_dim": 16,
    "dec_depth": 4,
    "dec_num_heads": 2,
    "depth_mode": ["exp", -math.inf, math.inf],
    "img_size": [512, 512],
}
EDGES = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2)]
ROUNDING = 1e-5
"""Float32 through five blocks and the heads; batches of another size add in another order."""


def tiny(point_cloud: bool = False) -> Croco:
    torch.manual_seed(0)
    kind = Align3R if point_cloud else Croco
    return kind(replace(TINY, point_cloud=point_cloud)).eval()


def some_images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 32, 48, generator=generator) * 2 - 1


def assert_equal(ours: list[PairPrediction], theirs: list[PairPrediction]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.edge == other.edge
        for name in ("points1", "confidence1", "points2", "confidence2"):
            assert torch.allclose(getattr(one, name), getattr(other, name), atol=ROUNDING)


def test_the_official_description_is_that_of_the_released_weights() -> None:
    assert parse_class_string(OFFICIAL) == CrocoConfig()


def test_a_description_may_name_the_linear_head_and_other_sizes() -> None:
    text = OFFICIAL.replace("'dpt'", "'linear'").replace("enc_depth=24", "enc_depth=3, mlp_ratio=2")
    assert parse_class_string(text) == CrocoConfig(head="linear", enc_depth=3, mlp_ratio=2.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__import__('os').system('true')", "no call"),
        ("AsymmetricCroCo3DStereo(enc_depth=__import__('os').getpid())", "no literal"),
        ("AsymmetricCroCo3DStereo(enc_depth=12 * 2)", "no literal"),
        ("AsymmetricCroCo3DStereo(enc_depth=nan)", "no literal"),
        ("AsymmetricCroCo3DStereo(enc_depth=-'3')", "no literal"),
        ("AsymmetricCroCo3DStereo(1024)", "no call"),
        ("AsymmetricCroCo3DStereo(**{'enc_depth': 3})", r"\*\*"),
        ("AsymmetricMASt3R(enc_depth=24)", "its class is AsymmetricMASt3R"),
        ("AsymmetricCroCo3DStereo(", "no expression"),
        ("(" * 5000, "no expression"),
        ("x" * 20_000, "characters"),
        (OFFICIAL.replace("enc_depth", "encoder_depth"), "unknown names"),
        (OFFICIAL.replace("'RoPE100'", "'cosine'"), "pos_embed"),
        (OFFICIAL.replace("'exp', -inf", "'linear', -inf"), "depth_mode"),
        (OFFICIAL.replace("enc_num_heads=16, ", ""), "lacks enc_num_heads"),
        (OFFICIAL.replace("enc_num_heads=16", "enc_num_heads=15"), "cannot be split"),
        (OFFICIAL.replace("enc_depth=24", "enc_depth=-24"), "enc_depth must be"),
        (OFFICIAL.replace("enc_depth=24", "enc_depth=True"), "enc_depth must be"),
        (OFFICIAL.replace("enc_depth=24", "enc_depth='24'"), "enc_depth must be"),
        (OFFICIAL.replace("enc_depth=24", "enc_depth=24, mlp_ratio=inf"), "mlp_ratio must be"),
        (OFFICIAL.replace("enc_depth=24", "enc_depth=24, mlp_ratio='4'"), "mlp_ratio must be"),
        (OFFICIAL.replace("'dpt'", "3"), "head_type must be"),
        (OFFICIAL.replace("'dpt'", "'catmlp+dpt'"), "head must be"),
    ],
)
def test_a_description_that_is_not_understood_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_class_string(text)


def test_sizes_are_deduced_from_the_tensors_of_full_size_networks() -> None:
    with torch.device("meta"):
        states = [Croco(CrocoConfig(head=head)).state_dict() for head in ("dpt", "linear")]
    assert [config_of_tensors(state) for state in states] == [
        CrocoConfig(),
        CrocoConfig(head="linear"),
    ]


def test_other_tensors_are_no_checkpoint_of_the_family() -> None:
    with pytest.raises(ConfigError, match=r"patch_embed\.proj\.weight is not there"):
        config_of_tensors({"weight": torch.zeros(3)})


def save_hub(network: Croco, folder: Path, arguments: dict[str, Any]) -> Path:
    """As the hub has them: one of the two names of a shared tensor is left out."""
    state = {k: v for k, v in network.state_dict().items() if ".layer_rn." not in k}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(arguments))
    return folder


@pytest.mark.parametrize("point_cloud", [False, True])
def test_a_folder_of_the_hub_loads(tmp_path: Path, point_cloud: bool) -> None:
    network = tiny(point_cloud)
    loaded = load_croco(save_hub(network, tmp_path, TINY_ARGUMENTS))
    assert loaded.config == network.config and type(loaded) is type(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_an_official_pth_loads_and_copies_a_decoder_that_is_missing(tmp_path: Path) -> None:
    network = tiny()
    network.dec_blocks2.load_state_dict(network.dec_blocks.state_dict())
    kept = {k: v for k, v in network.state_dict().items() if not k.startswith("dec_blocks2.")}
    path = tmp_path / "official.pth"
    torch.save({"args": argparse.Namespace(model=TINY_STRING), "model": kept}, path)
    loaded = load_croco(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_a_description_that_contradicts_the_tensors_is_refused(tmp_path: Path) -> None:
    folder = save_hub(tiny(), tmp_path, {**TINY_ARGUMENTS, "dec_depth": 3})
    with pytest.raises(ConfigError, match="dec_depth 3 but 4 in its tensors"):
        load_croco(folder)


def test_a_description_that_is_no_json_is_refused(tmp_path: Path) -> None:
    folder = save_hub(tiny(), tmp_path, TINY_ARGUMENTS)
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="is no JSON"):
        load_croco(folder)


def test_the_arguments_of_a_hub_folder_are_those_of_the_class() -> None:
    assert config_of_arguments(TINY_ARGUMENTS) == replace(parse_class_string(TINY_STRING), patch=16)


class Counted(Croco):
    """Notes how many images each call of the encoder gets."""

    def encode(self, images: Tensor, *others: Any, **more: Any) -> Any:
        self.calls = [*getattr(self, "calls", []), len(images)]
        return super().encode(images, *others, **more)


def counted() -> Counted:
    torch.manual_seed(0)
    return Counted(TINY).eval()


def test_every_image_goes_through_the_encoder_once() -> None:
    network = counted()
    assert len(list(predict_pairs(network, some_images(), EDGES))) == len(EDGES)
    assert network.calls == [3]


def test_images_without_a_pair_are_not_encoded_and_memory_bounds_the_batches() -> None:
    network = counted()
    options = PairInference(budget_bytes=1)
    found = list(predict_pairs(network, some_images(5), [(4, 1), (1, 3)], options))
    assert network.calls == [1, 1, 1] and [pair.edge for pair in found] == [(4, 1), (1, 3)]


@pytest.mark.parametrize("fit", [1, 2])
def test_pairs_in_small_batches_are_those_of_one_batch(fit: int) -> None:
    network, images = tiny(), some_images()
    sizes: list[int] = []
    network.dec_norm.register_forward_hook(lambda m, given, out: sizes.append(len(given[0])))
    whole = list(predict_pairs(network, images, EDGES))
    assert sizes == [5, 5]
    sizes.clear()
    options = PairInference(budget_bytes=fit * pair_bytes(TINY, (2, 3)))
    assert_equal(list(predict_pairs(network, images, EDGES, options)), whole)
    assert max(sizes) == fit


def test_a_pair_gives_tokens_and_statistics_where_they_are_wanted() -> None:
    network, images = tiny(), some_images()
    options = PairInference(statistics=True, layers=(0, 1, 3, 4))
    pair = next(predict_pairs(network, images, [(2, 0)], options))
    with torch.no_grad():
        view1, view2 = network.encode(images[2:]), network.encode(images[:1])
        decoded = network.decode(view1, view2, Attention(statistics=True))
    assert pair.tokens1 is not None and pair.tokens2 is not None and pair.logits1 is not None
    assert decoded.logits1 is not None
    assert pair.tokens1.shape == (4, 6, 16) and pair.logits1.shape == (4, 2, 6)
    assert torch.allclose(pair.tokens1[2], decoded.layers1[3][0], atol=ROUNDING)
    assert torch.allclose(pair.logits1, decoded.logits1[0], atol=ROUNDING)
    assert torch.allclose(pair.tokens2[0], network.decoder_embed(view2.tokens)[0], atol=ROUNDING)


def test_tokens_and_statistics_are_not_kept_unasked() -> None:
    pair = next(predict_pairs(tiny(), some_images(), EDGES))
    assert pair.tokens1 is None and pair.tokens2 is None
    assert pair.logits1 is None and pair.logits2 is None


def test_reweighting_changes_only_pairs_with_movers_in_the_second_view() -> None:
    network, images = tiny(), some_images()
    view = encode_images(network, images)
    masks = torch.zeros(3, 32, 48, dtype=torch.bool)
    masks[2, 20, 40] = True
    moving = moving_tokens(masks, 16)
    assert moving[2].nonzero().flatten().tolist() == [5] and not moving[:2].any()
    plain = list(decode_pairs(network, view, EDGES))
    masked = list(decode_pairs(network, view, EDGES, moving=moving))
    changed = [not torch.allclose(a.points1, b.points1) for a, b in zip(plain, masked, strict=True)]
    assert changed == [False, False, True, False, True]


def test_reweighted_attention_is_zeroed_after_the_softmax() -> None:
    torch.manual_seed(2)
    attention = CrossAttention(16, 2)
    x, y = torch.randn(2, 4, 16), torch.randn(2, 6, 16)
    x_angles = rope_angles(grid_positions(2, 2, x.device).expand(2, -1, -1), 8)
    y_angles = rope_angles(grid_positions(2, 3, x.device).expand(2, -1, -1), 8)
    moving_x, moving_y = torch.rand(2, 4) > 0.5, torch.rand(2, 6) > 0.5
    ours, logits = attention(x, y, x_angles, y_angles, Attention(True, moving_x, moving_y))
    q, k = attention.queries_and_keys(x, y, x_angles, y_angles)
    plain = q @ k.mT / 8**0.5
    weights = plain.softmax(-1) * (moving_x[:, None, :, None] | ~moving_y[:, None, None, :])
    v = attention.projv(y).reshape(2, 6, 2, 8).transpose(1, 2)
    assert torch.allclose(ours, attention.proj((weights @ v).transpose(1, 2).flatten(2)), atol=1e-6)
    assert torch.allclose(logits, plain.mean(2), atol=1e-6)


def test_moving_tokens_of_one_view_alone_are_refused() -> None:
    with pytest.raises(InputError, match="of both"):
        Attention(dynamic1=torch.zeros(2, 4, dtype=torch.bool))


def test_align3r_needs_point_maps_and_dust3r_refuses_them() -> None:
    images, points = some_images(), torch.rand(3, 32, 48, 3)
    with pytest.raises(InputError, match="no point maps"):
        predict_pairs(tiny(point_cloud=True), images, EDGES)
    with pytest.raises(InputError, match="without a point branch"):
        predict_pairs(tiny(), images, EDGES, points=points)


def test_point_maps_of_either_view_change_a_pair() -> None:
    network, images, points = tiny(point_cloud=True), some_images(), torch.rand(3, 32, 48, 3)
    options = PairInference(budget_bytes=1)
    before = list(predict_pairs(network, images, EDGES, points=points))
    assert_equal(list(predict_pairs(network, images, EDGES, options, points)), before)
    after = list(predict_pairs(network, images, EDGES, points=torch.cat([points[:2], points[:1]])))
    same = [torch.equal(a.points1, b.points1) for a, b in zip(before, after, strict=True)]
    assert same == [2 not in edge for edge in EDGES]


@pytest.mark.parametrize("edges", [[(0, 3)], [(-1, 0)], []])
def test_pairs_of_images_that_are_not_there_are_refused(edges: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match="indices 0 to 2 are needed"):
        predict_pairs(tiny(), some_images(), edges)


def test_images_whose_sides_are_no_multiples_of_the_patch_are_refused() -> None:
    with pytest.raises(InputError, match="50x32 px were given"):
        predict_pairs(tiny(), torch.zeros(2, 3, 32, 50), [(0, 1)])


def test_masks_of_other_images_are_refused() -> None:
    network = tiny()
    view = encode_images(network, some_images())
    with pytest.raises(InputError, match="masks of"):
        decode_pairs(network, view, EDGES, moving=torch.zeros(3, 7, dtype=torch.bool))


def test_half_precision_without_cuda_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs CUDA"):
        predict_pairs(tiny(), some_images(), EDGES, PairInference(half=True))


@pytest.mark.parametrize("layers", [(0, 5), (-1,)])
def test_layers_that_are_not_there_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="layers"):
        predict_pairs(tiny(), some_images(), EDGES, PairInference(layers=layers))


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        PairInference(budget_bytes=0)


@pytest.mark.gpu
@needs.cuda
def test_half_precision_on_cuda_is_near_full_precision() -> None:
    network, images = tiny().cuda(), some_images()
    full = list(predict_pairs(network, images, EDGES))
    half = list(predict_pairs(network, images, EDGES, PairInference(half=True)))
    for one, other in zip(full, half, strict=True):
        assert torch.allclose(one.confidence1, other.confidence1, rtol=0.02)


def test_point_maps_span_each_axis_whatever_the_unit_of_depth() -> None:
    depth = 1 + np.random.default_rng(3).random((20, 30), np.float32)
    points = normalised_points(depth)
    assert np.allclose(points.min((0, 1)), 0) and np.allclose(points.max((0, 1)), 1)
    assert np.allclose(points, normalised_points(100 * depth), atol=1e-6)


def test_depth_that_is_the_same_everywhere_is_refused() -> None:
    with pytest.raises(DegenerateError, match="the same everywhere"):
        normalised_points(np.full((20, 30), 2, np.float32))


def test_depth_with_holes_is_refused() -> None:
    depth = np.ones((20, 30), np.float32)
    depth[3, 4] = np.nan
    with pytest.raises(InputError, match="not finite"):
        normalised_points(depth)


@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (120, 120)])
def test_images_and_point_maps_are_cut_alike(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(4)
    rgb = generator.integers(0, 256, (*shape, 3), np.uint8)
    image = input_image(rgb, 128)
    points = input_points(1 + generator.random(shape, np.float32), 128)
    assert image.shape[1:] == points.shape[:2] and all(side % 16 == 0 for side in points.shape[:2])


def test_a_resized_constant_stays_and_overshoot_is_cut() -> None:
    grey = np.full((40, 50, 3), 77, np.uint8)
    assert (resample(grey, (31, 23), lanczos=True) == 77).all()
    edge = np.zeros((4, 8, 3), np.uint8)
    edge[:, 4:] = 255
    assert set(resample(edge, (80, 4), lanczos=False)[0, [0, 79], 0]) == {0, 255}


def test_a_crop_is_around_the_centre() -> None:
    image = np.arange(40 * 50).reshape(40, 50)
    assert np.array_equal(centre_crop(image), image[4:36, 1:49])
