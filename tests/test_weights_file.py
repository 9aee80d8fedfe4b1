"""Checkpoints are read as data; what does not fit is named, whatever is wrong with it."""

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recon4d.core.errors import ConfigError
from recon4d.weights.files import WeightsFile, load_into, read_weights


def state() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(4)
    return {"weight": torch.randn((3, 2), generator=g), "bias": torch.randn(3, generator=g)}


def saved(path: Path, stored: Any) -> Path:
    torch.save(stored, path)
    return path


def assert_same(found: WeightsFile) -> None:
    assert found.tensors.keys() == state().keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in state().items())


def test_a_pth_file_comes_back(tmp_path: Path) -> None:
    assert_same(read_weights(saved(tmp_path / "a.pth", OrderedDict(state()))))


def test_a_pth_file_of_the_old_format_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=False)
    assert_same(read_weights(path))


def test_a_safetensors_file_comes_back_with_its_metadata(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "a.safetensors", {"made": "here"})
    found = read_weights(tmp_path / "a.safetensors")
    assert_same(found)
    assert found.extra == {"made": "here"}


def test_a_folder_stands_for_its_safetensors_file(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "model.safetensors")
    assert_same(read_weights(tmp_path))


@pytest.mark.parametrize("key", ["model", "model_state_dict", "state_dict"])
def test_a_nested_state_dict_is_found_and_the_rest_is_kept(tmp_path: Path, key: str) -> None:
    found = read_weights(saved(tmp_path / "a.pth", {key: state(), "epoch": 3}))
    assert_same(found)
    assert found.extra == {"epoch": 3}


def test_options_of_the_command_line_are_plain_values(tmp_path: Path) -> None:
    args = argparse.Namespace(model="AsymmetricCroCo3DStereo(pos_embed='RoPE100')", lr=1e-4)
    found = read_weights(saved(tmp_path / "a.pth", {"args": args, "model": state()}))
    assert_same(found)
    assert found.extra["args"] == args


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), np.int64(3)])
def test_numbers_of_numpy_are_plain_values(tmp_path: Path, number: np.generic) -> None:
    stored = {"model_state_dict": state(), "best_iou": number}
    assert read_weights(saved(tmp_path / "a.pth", stored)).extra == {"best_iou": number}


class Harmful:
    """A pickle that makes a folder when it is read as Python would read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("nested", [False, True])
def test_code_in_a_pth_file_is_refused_and_not_run(tmp_path: Path, nested: bool) -> None:
    harmful = Harmful(tmp_path / "ran")
    stored = {"model": state(), "args": harmful} if nested else harmful
    with pytest.raises(ConfigError, match=r"it wants \w+\.mkdir, .* it was not run") as caught:
        read_weights(saved(tmp_path / "a.pth", stored))
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in str(caught.value), "no advice to run it after all"


def test_code_in_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Harmful(tmp_path / "ran"), protocol=2))
    with pytest.raises(ConfigError, match=r"it wants \w+\.mkdir"):
        read_weights(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it wants torch\.nn\.modules\.linear\.Linear"):
        read_weights(saved(tmp_path / "a.pth", nn.Linear(2, 3)))


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.01, 0.3, 0.7, 0.999])
def test_a_truncated_pth_file_is_refused(tmp_path: Path, modern: bool, part: float) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(50, 50)}, path, _use_new_zipfile_serialization=modern)
    cut(path, part)
    with pytest.raises(ConfigError, match=r"no complete PyTorch checkpoint.*fetch the file again"):
        read_weights(path)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.01, 0.3, 0.7, 0.999])
def test_a_truncated_safetensors_file_is_refused(tmp_path: Path, part: float) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(50, 50)}, path)
    cut(path, part)
    with pytest.raises(ConfigError, match=r"no complete safetensors file.*fetch the file again"):
        read_weights(path)


def cut(path: Path, part: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_pth_file_is_refused_or_read_but_never_a_crash(tmp_path: Path, seed: int) -> None:
    """In the old format, whose whole beginning is pickled."""
    path = tmp_path / "a.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=False)
    damaged = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(damaged), 3):
        damaged[place] = random.integers(256)
    path.write_bytes(damaged)
    try:
        assert isinstance(read_weights(path), WeightsFile)
    except ConfigError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>not found</html>")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_weights(tmp_path / name)


def test_a_file_or_folder_without_weights_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(ConfigError, match=r"are not there; give the path of"):
            read_weights(path)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ([torch.ones(2)], "holds a list"),
        ({}, "no state dict .empty"),
        ({"model": {}}, "no state dict .empty"),
        ({"a": torch.ones(2), "b": 3}, r"no state dict .b\)"),
        ({"model": {"a": {"b": torch.ones(2)}}}, r"no state dict .a\)"),
        ({1: torch.ones(2)}, r"no state dict .1\)"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, stored: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_weights(saved(tmp_path / "a.pth", stored))


def test_a_network_gets_every_tensor_in_its_own_precision() -> None:
    network = nn.Linear(2, 3)
    half = {name: value.half() for name, value in state().items()}
    load_into(network, WeightsFile(Path("a.pth"), half), "a layer")
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, half["weight"].float())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bias": None}, r"1 missing keys \(bias\)"),
        ({"other": torch.ones(1)}, r"1 unexpected keys \(other\)"),
        (
            {"weight": torch.ones(3, 4)},
            r"weight has shape \(3, 4\), needed is \(3, 2\)",
        ),
        (
            {"bias": None, "b": torch.ones(1), "weight": torch.ones(1)},
            "missing.*unexpected.*shape",
        ),
        ({f"k{k}": torch.ones(1) for k in range(9)}, "9 unexpected keys .* and 5 more"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(
    change: dict[str, Tensor | None], why: str
) -> None:
    network = nn.Linear(2, 3)
    before = network.weight.clone()
    given = {k: v for k, v in {**state(), **change}.items() if v is not None}
    with pytest.raises(ConfigError, match=rf"a\.pth do not fit a layer: .*{why}"):
        load_into(network, WeightsFile(Path("a.pth"), given), "a layer")
    assert torch.equal(network.weight, before)


def test_keys_that_no_network_needs_are_left_out() -> None:
    given = {**state(), "old": torch.ones(1)}
    load_into(nn.Linear(2, 3), WeightsFile(Path("a.pth"), given), "a layer", frozenset({"old"}))
