"""The token feed: maps at four scales, aligned, without the lattice of the patches."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import tokens
from benchmarks.measure import lattice
from benchmarks.measure.lattice import How, RandomField
from recon4d.core.errors import InputError
from recon4d.masks.d2mif.feed import (
    SCALES,
    TokenFeed,
    resample,
    spline_matrix,
)
from recon4d.networks.croco.tokens import attention_got
from recon4d.networks.tokens import LAYERS, neighbours, packed, sampled_layers
from tests import needs

PATCHES = [14, 16]


def plane(step: float, rows: int, cols: int) -> Tensor:
    """A linear function of the pixel, at the centres of squares with sides of `step` pixels."""
    v, u = torch.meshgrid(
        (torch.arange(rows, dtype=torch.float64) + 0.5) * step,
        (torch.arange(cols, dtype=torch.float64) + 0.5) * step,
        indexing="ij",
    )
    return (0.3 * u - 0.7 * v + 5)[None, None]


def feed(attention_channels: int = 0) -> TokenFeed:
    torch.manual_seed(0)
    return TokenFeed(6, 5, attention_channels).double()


def some_tokens(batch: int, rows: int, cols: int) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(batch, LAYERS, rows * cols, 6, dtype=torch.float64, generator=rng)


# The acceptance line


@pytest.mark.parametrize("how", ["mean", "centre"])
@pytest.mark.parametrize("patch_px", PATCHES)
def test_a_smooth_field_has_at_most_half_of_bilinears_energy_at_the_lattice(
    patch_px: int, how: How
) -> None:
    """Energy of the error within the field's band around one and two cycles per patch, along either axis."""
    for seed in range(6):
        field = RandomField.make(np.random.default_rng(seed), patch_px)
        both = lattice.compare(field, patch_px, how)
        bilinear, ours = (
            lattice.lattice_energy(x, both.truth, patch_px) for x in (both.bilinear, both.ours)
        )
        assert bilinear > 1e-3  # what is compared is there: fields have energy 1
        assert ours <= 0.5 * bilinear
        assert ours <= 0.1 * bilinear  # what was reached is 0.05 to 0.06
        error = np.abs(both.ours - both.truth)[8:-8, 8:-8].mean()
        assert error < np.abs(both.bilinear - both.truth)[8:-8, 8:-8].mean()


@pytest.mark.parametrize("patch_px", PATCHES)
def test_the_field_itself_has_no_energy_at_the_lattice(patch_px: int) -> None:
    truth = RandomField.make(np.random.default_rng(0), patch_px).at(
        4, lattice.TOKENS[patch_px] * patch_px // 4
    )
    energy = lattice.spectrum(truth)
    assert energy[lattice.is_lattice(patch_px)].sum() < 1e-6 * energy.sum()  # leaks of the window


def test_the_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens.main(["--out", str(tmp_path / "tokens.png"), "--fields", "1"])
    assert "14 px, mean" in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / "tokens.png"))
    assert picture is not None and picture.std() > 30


# Resampling


@pytest.mark.parametrize("patch_px", PATCHES)
@pytest.mark.parametrize("scale", SCALES)
def test_a_plane_is_reproduced_up_to_the_border(patch_px: int, scale: int) -> None:
    """Centres are aligned; 14 x 16 and 16 x 14 patches have sides that are multiples of 32."""
    rows, cols = 2 * (30 - patch_px), 4 * (30 - patch_px)
    height, width = rows * patch_px, cols * patch_px
    found = resample(plane(patch_px, rows, cols), patch_px, (width, height), scale)
    # 1e-9: float64 on values up to 700.
    torch.testing.assert_close(
        found, plane(scale, height // scale, width // scale), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("patch_px", PATCHES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("count", [1, 2, 3, 18, 37])
def test_weights_sum_to_one_everywhere(patch_px: int, scale: int, count: int) -> None:
    """Nothing darkens at borders, also where the last sample or the last patch passes the image."""
    for length in (count * patch_px, count * patch_px - 5, count * patch_px + 5):
        matrix = spline_matrix(count, patch_px, length, scale)
        assert matrix.shape == (-(-length // scale), count)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)


def test_samples_at_the_tokens_centres_are_the_tokens() -> None:
    np.testing.assert_allclose(spline_matrix(18, 16, 288, 16), np.eye(18), atol=1e-12)


def test_what_lies_outside_the_image_has_the_value_at_its_edge() -> None:
    """520 pixels of 14: 17 samples at 1/32, the last of which is mostly outside."""
    ramp = (np.arange(37) + 0.5) * 14
    found = spline_matrix(37, 14, 518, 32) @ ramp
    inside = np.minimum(np.arange(17 * 32) + 0.5, 518).reshape(17, 32).mean(1)
    np.testing.assert_allclose(found, inside, atol=1e-9)


def test_the_window_of_a_token_overlaps_its_neighbours_and_fades() -> None:
    matrix = spline_matrix(36, 14, 504, 4)
    distance = np.abs((np.arange(126)[:, None] + 0.5) * 4 / 14 - np.arange(36) - 0.5)
    assert np.abs(matrix[(distance > 1) & (distance < 2)]).max() > 0.05
    inner = np.abs(matrix[20:-20])
    assert inner[distance[20:-20] > 6].max() < 1e-3  # sharpening makes tails: 0.27 per patch


def test_matrices_are_made_once() -> None:
    assert spline_matrix(20, 14, 280, 8) is spline_matrix(20, 14, 280, 8)


def test_maps_of_a_part_are_that_part_of_the_maps() -> None:
    """Of a part that begins and ends at samples of every scale."""
    rng = torch.Generator().manual_seed(2)
    maps = torch.randn(1, 2, 12, 17, dtype=torch.float64, generator=rng)
    size, patch = (256, 192), (256 / 17, 16.0)
    for scale in SCALES:
        whole = resample(maps, patch, size, scale)
        found = resample(maps, patch, size, scale, (64, 32, 128, 96))
        rows, cols = slice(32 // scale, 128 // scale), slice(64 // scale, 192 // scale)
        torch.testing.assert_close(found, whole[:, :, rows, cols], atol=1e-12, rtol=0)


# The module


@pytest.mark.parametrize(
    ("patch_px", "grid", "size"),
    [(14, (27, 36), (504, 378)), (16, (18, 32), (512, 288)), (14, (2, 3), (40, 29))],
)
def test_maps_have_a_sample_for_every_square_of_the_image(
    patch_px: int, grid: tuple[int, int], size: tuple[int, int]
) -> None:
    maps = feed()(some_tokens(2, *grid), grid, patch_px, size)
    assert [tuple(m.shape) for m in maps] == [
        (2, 5, -(-size[1] // s), -(-size[0] // s)) for s in (4, 8, 16, 32)
    ]


def test_equal_tokens_give_their_projection_everywhere() -> None:
    network, one = feed(), some_tokens(1, 1, 1)
    maps = network(one.expand(1, LAYERS, 12, 6), (3, 4), 14, (56, 42))
    expected = network.project(one.reshape(-1))
    for m in maps:
        torch.testing.assert_close(m, expected[None, :, None, None].expand_as(m))


def test_one_image_of_a_batch_does_not_see_the_others() -> None:
    network, both = feed(), some_tokens(2, 4, 5)
    together = network(both, (4, 5), 14, (70, 56))
    for at in (0, 1):
        alone = network(both[at : at + 1], (4, 5), 14, (70, 56))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[at : at + 1], b)


def test_gradients_reach_tokens_attention_and_weights_after_inference() -> None:
    """What inference leaves in the cache must not forbid training."""
    network, attention = feed(2), torch.rand(1, 2, 3, 4, dtype=torch.float64)
    with torch.inference_mode():
        network(some_tokens(1, 3, 4), (3, 4), 14, (56, 42), attention)
    given = some_tokens(1, 3, 4).requires_grad_(), attention.requires_grad_()

    def total(values: Tensor, statistics: Tensor) -> Tensor:
        maps = network(values, (3, 4), 14, (56, 42), statistics)
        return torch.stack([m.square().sum() for m in maps]).sum()

    assert torch.autograd.gradcheck(total, given)
    (by_weight,) = torch.autograd.grad(total(*given), network.project.weight)
    assert (by_weight != 0).all()


def test_the_feed_works_in_single_precision() -> None:
    exact = feed()(some_tokens(1, 3, 4), (3, 4), 14, (56, 42))
    rounded = feed().float()(some_tokens(1, 3, 4).float(), (3, 4), 14, (56, 42))
    for a, b in zip(exact, rounded, strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a.float(), b, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@needs.cuda
def test_the_feed_follows_its_tokens_to_the_gpu() -> None:
    network = feed(2).float()
    given = some_tokens(1, 3, 4).float(), torch.rand(1, 2, 3, 4)
    here = network(given[0], (3, 4), 14, (56, 42), given[1])
    there = network.cuda()(given[0].cuda(), (3, 4), 14, (56, 42), given[1].cuda())
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), atol=1e-2, rtol=1e-2)  # TF32 has 10 bits


# Its inputs


def test_layers_are_uniform_over_the_decoder() -> None:
    assert sampled_layers(12) == (4, 8, 12)
    assert sampled_layers(36) == (12, 24, 36)
    assert sampled_layers(3) == (1, 2, 3)


def test_equal_attention_has_the_statistics_one_and_zero() -> None:
    found = attention_got(torch.full((2, 3, 12), 0.7), (3, 4))
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0]).log()[:, None, None].expand(2, 3, 4))


def test_statistics_are_taken_over_layers_and_heads() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 12, generator=rng)
    of_token = logits.softmax(-1)[:, :, 6].flatten() * 12  # row 1, column 2
    found = attention_got(logits, (3, 4))[:, 1, 2].expm1()
    torch.testing.assert_close(found, torch.stack((of_token.mean(), of_token.std(correction=0))))


def test_stored_tokens_have_one_unit_whatever_the_network() -> None:
    layers = 1e6 * torch.randn(LAYERS, 12, 6, generator=torch.Generator().manual_seed(0)) + 3e6
    statistics = torch.rand(2, 3, 4)
    found = packed(layers, (3, 4), statistics)
    assert found.shape == (3, 4, 6 * LAYERS + 2)
    of_layer = found[..., : 6 * LAYERS].reshape(3, 4, LAYERS, 6)
    torch.testing.assert_close(of_layer.var(-1, correction=0), torch.ones(3, 4, LAYERS))
    assert torch.equal(of_layer[1, 2, 3], packed(layers, (3, 4))[1, 2, 18:])
    assert torch.equal(found[..., -2:], statistics.permute(1, 2, 0))


def test_every_frame_is_seen_with_a_neighbour() -> None:
    assert neighbours(3) == [(0, 1), (1, 2), (2, 1)]
    assert neighbours(1) == [(0, 0)]


def test_tokens_that_do_not_fit_are_refused() -> None:
    network = feed()
    with pytest.raises(InputError, match=r"17 tokens .* grid of 3x4; 12 were needed"):
        network(some_tokens(1, 1, 17), (3, 4), 14, (56, 42))
    with pytest.raises(InputError, match=r"3x4 tokens of 14x14 pixels .* 60 high and 56 wide"):
        network(some_tokens(1, 3, 4), (3, 4), 14, (56, 60))
    with pytest.raises(InputError, match=r"2 maps of attention were given, 0 were needed"):
        network(some_tokens(1, 3, 4), (3, 4), 14, (56, 42), torch.rand(1, 2, 3, 4).double())
    with pytest.raises(InputError, match=r"0 maps of attention were given, 2 were needed"):
        feed(2)(some_tokens(1, 3, 4), (3, 4), 14, (56, 42))
