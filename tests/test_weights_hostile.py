"""Weights of D2MIF that cannot be used: one sentence that names the file, before anything is written."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from recon4d import cli
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.network import D2mif
from recon4d.masks.d2mif.weights import Calibration, load_weights, save_weights
from tests.media import textured_frames, write_images

TINY = NetworkConfig(width=8, head=8, encoder=(8, 8, 16, 16), blocks=1, appearance="resnet")
WEIGHTS = Path("w.safetensors")
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), textured_frames(3))


def stored(
    metadata: Mapping[str, Any] | None = None,
    change: Callable[[Tensors], object] = lambda tensors: None,
    **config: object,
) -> None:
    """Write weights, changed."""
    torch.manual_seed(0)
    save_weights(WEIGHTS, D2mif(TINY), Calibration())
    from safetensors.torch import load_file

    tensors = load_file(WEIGHTS)
    change(tensors)
    said = json.loads(TINY.to_json()) | config
    given = {
        "d2mif": json.dumps({k: v for k, v in said.items() if v != "absent"}),
        "calibration": json.dumps(vars(Calibration())),
    } | dict(metadata or {})
    save_file(tensors, WEIGHTS, {k: v for k, v in given.items() if v is not None})


def calibrated(**values: object) -> Callable[[], None]:
    text = json.dumps(vars(Calibration()) | values)
    return lambda: stored({"calibration": text})


def filled(value: float) -> Callable[[], None]:
    return lambda: stored(change=lambda t: t["shrink.weight"].view(-1)[3:4].fill_(value))


def exchanged(**tensors: torch.Tensor) -> Callable[[], None]:
    new = {name.replace("_", "."): tensor for name, tensor in tensors.items()}
    return lambda: stored(change=lambda t: t.update(new))


def truncated() -> None:
    stored()
    WEIGHTS.write_bytes(WEIGHTS.read_bytes()[:-100])


KINDS: dict[str, tuple[Callable[[], object], str]] = {
    "absent": (lambda: None, "are not there"),
    "empty": (lambda: WEIGHTS.write_bytes(b""), "cannot be read"),
    "text": (lambda: WEIGHTS.write_text("hello, no weights here"), "cannot be read"),
    "truncated": (truncated, "cannot be read"),
    "folder": (WEIGHTS.mkdir, "model.safetensors are not there"),
    "loop": (lambda: WEIGHTS.symlink_to(WEIGHTS), "are not there|cannot be read"),
    "device": (lambda: WEIGHTS.symlink_to("/dev/zero"), "are no file"),
    "no configuration": (lambda: stored({"d2mif": None}), "holds no D2MIF network"),
    "no JSON": (lambda: stored({"d2mif": "{"}), "no valid JSON"),
    "nested": (lambda: stored({"d2mif": "[" * 100_000}), "no valid JSON"),
    "a list": (lambda: stored({"d2mif": "[1]"}), "unknown"),
    "unknown entry": (lambda: stored(depth=3), r"has \['depth'\], which is unknown"),
    "many blocks": (lambda: stored(blocks=10**7), "blocks of the network is 10000000"),
    "negative width": (lambda: stored(width=-8), "width of the network is -8"),
    "enormous width": (lambda: stored(width=10**9), "width of the network is 1000000000"),
    "large width": (lambda: stored(width=2048), "do not fit D2MIF.*needed is"),
    "text width": (lambda: stored(width="8"), "width of the network is '8'"),
    "fraction": (lambda: stored(width=8.0), "width of the network is 8.0"),
    "true": (lambda: stored(blocks=True), "blocks of the network is True"),
    "null": (lambda: stored(head=None), "head of the network is None"),
    "three widths": (lambda: stored(encoder=[8, 8, 16]), "encoder of the network is"),
    "one encoder": (lambda: stored(encoder=8), "encoder of the network is 8"),
    "odd branch": (lambda: stored(branches=["smell"]), "branches of the network are"),
    "same branch": (lambda: stored(branches=["motion"] * 2), "branches of the network are"),
    "no branch": (lambda: stored(branches=[]), "branches of the network are"),
    "branches text": (lambda: stored(branches="motion"), "branches of the network is"),
    "odd appearance": (lambda: stored(appearance=[1]), "appearance of the network is"),
    "odd backbone": (lambda: stored(backbone={"a": 1}, token_channels=4), "backbone of the"),
    "tokens alone": (lambda: stored(token_channels=4), "give both or none"),
    "no calibration": (lambda: stored({"calibration": None}), "calibration needs"),
    "calibration list": (lambda: stored({"calibration": "[]"}), "calibration needs"),
    "calibration cut": (lambda: stored({"calibration": "{"}), "calibration needs"),
    "calibration more": (calibrated(more=1), "calibration needs"),
    "calibration text": (calibrated(scale="1"), "scale of its calibration is '1'"),
    "calibration NaN": (calibrated(shift=float("nan")), "shift of its calibration is nan"),
    "calibration large": (calibrated(evidence=1e300), "evidence of its calibration is 1e"),
    "NaN": (filled(float("nan")), "shrink.weight has values that are no finite numbers"),
    "infinite": (filled(float("inf")), "shrink.weight has values that are no finite numbers"),
    "other shape": (exchanged(shrink_bias=torch.zeros(9)), r"shrink.bias has shape \(9,\)"),
    "whole numbers": (
        exchanged(shrink_bias=torch.zeros(8, dtype=torch.int64)),
        "shrink.bias holds int64, needed is float32",
    ),
    "more": (exchanged(extra=torch.zeros(1)), r"1 unexpected keys \(extra\)"),
    "fewer": (lambda: stored(change=lambda t: t.pop("shrink.bias")), "1 missing keys"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_cannot_be_used_are_refused_in_one_sentence(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write, message = KINDS[kind]
    write()
    before = sorted(os.listdir())
    assert cli.main(["run", "in", "--out", "out", "--weights", f"d2mif={WEIGHTS}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("recon4d: error: ") and err.count("\n") == 1
    import re

    assert re.search(message, err) and str(WEIGHTS) in err, err
    assert sorted(os.listdir()) == before


def test_weights_that_can_be_used_are() -> None:
    stored()
    assert load_weights(WEIGHTS).network.config == TINY


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "folder"])
def test_info_says_what_is_wrong_with_weights(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    KINDS[kind][0]()
    assert cli.main(["info", str(WEIGHTS)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and str(WEIGHTS) in err
