"""Networks of the CroCo family equal the official ones, number by number, and have the official keys."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import Tensor

from benchmarks.parity import Compared, Fixture
from benchmarks.peers.croco import compare, compare_attention
from recon4d.networks.croco.config import CrocoConfig
from recon4d.networks.croco.load import empty_network
from tests import needs

SHARED = Path(__file__).parents[1] / "../shared"
needs_golden = needs.shared_file("golden")
needs_keys = needs.shared_file("keys")


def golden(name: str) -> Fixture:
    return Fixture.read(SHARED / f"golden/{name}.npz")


def errors(compared: list[Compared]) -> dict[str, tuple[float, float]]:
    return {one.name: one.largest for one in compared if not one.holds}


@needs_golden
@pytest.mark.parametrize(
    ("name", "arrays"), [("dust3r_dpt", 129), ("dust3r_linear", 36), ("align3r_dpt", 118)]
)
def test_every_array_of_the_official_network_is_met(name: str, arrays: int) -> None:
    compared = compare(golden(name))
    assert len(compared) == arrays and not errors(compared)


@needs_golden
def test_attention_its_statistics_and_its_reweighting_are_easi3rs() -> None:
    compared = compare_attention(golden("easi3r"))
    assert len(compared) == 84 and not errors(compared)


def listed(name: str) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and count of each pattern of keys; in a pattern, N stands for the number of a repeated block."""
    found = {}
    for line in (SHARED / f"keys/{name}.txt").read_text().splitlines():
        pattern, shape, count = line.split("\t")
        numbers = tuple(int(number) for number in re.findall(r"\d+", shape))
        found[pattern] = (numbers, int(count[1:]))
    return found


def counted(state: Mapping[str, Tensor], repeated: str) -> dict[str, tuple[tuple[int, ...], int]]:
    """The same of a state dict; `repeated` is what stands before the number of a block and that number."""
    found: dict[str, tuple[tuple[int, ...], int]] = {}
    for key, tensor in state.items():
        pattern = re.sub(repeated, r"\1.N.", key)
        shape, count = tuple(tensor.shape), found.get(pattern, ((), 0))[1]
        assert count == 0 or found[pattern][0] == shape
        found[pattern] = (shape, count + 1)
    return found


@needs_keys
@pytest.mark.parametrize(("name", "tensors"), [("dust3r", 1009), ("align3r", 1069)])
def test_full_size_networks_have_exactly_the_official_keys(name: str, tensors: int) -> None:
    state = empty_network(CrocoConfig(point_cloud=name == "align3r")).state_dict()
    assert counted(state, r"^(\w*blocks\w*|zero_convs)\.\d+\.") == listed(name)
    assert len(state) == tensors
