"""Options without effect are refused; configurations that are no TOML of ours, and fetching unasked."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recon4d
from recon4d import cli
from recon4d.core.errors import ConfigError
from recon4d.weights import transfer
from tests.media import textured_frames, write_images


@pytest.fixture(autouse=True)
def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("in"), textured_frames(3))
    write_images(Path("own"), textured_frames(3))
    Path("w.pth").write_text("")


def sentence(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run a command that must be refused, with nothing left behind."""
    before = sorted(os.listdir())
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    err = re.sub(r"^read: done in .* s\n", "", err)  # what only the frames tell comes after them
    assert out == "" and err.startswith("recon4d: error: ") and err.count("\n") == 1, err
    assert sorted(os.listdir()) == before
    return err


@pytest.mark.parametrize(
    ("options", "reader"),
    [
        (("--weights", "raft=w.pth"), "--masks geomotion or --flow raft"),
        (("--weights", "sam2=w.pth"), "--refine sam2"),
        (("--weights", "pi3=w.pth"), "--geometry pi3"),
        (
            ("--weights", "depth-pro=w.pth"),
            "--masks easi3r or --geometry align3r or --geometry depth-pro",
        ),
        (("--weights", "geomotion=w.pth"), "--masks geomotion"),
        (("--weights", "easi3r=w.pth"), "--masks easi3r"),
        (("--weights", "d2mif=w.pth", "--masks", "residual"), "--masks d2mif"),
        (("--weights", "d2mif=w.pth", "--masks", "own"), "--masks d2mif"),
    ],
)
def test_weights_that_nothing_looks_at_are_refused(
    options: tuple[str, ...], reader: str, capsys: pytest.CaptureFixture[str]
) -> None:
    err = sentence(capsys, "run", "in", "--out", "out", *options)
    assert "would not be used" in err and reader in err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--executor", "ray"), "--executor ray is for the clips of a long video"),
        (("--set", "optim.keyframes=free"), "optim.keyframes=free is for the clips"),
    ],
)
def test_options_for_clips_are_refused_where_there_are_none(
    options: tuple[str, ...],
    named: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recon4d.run.pipeline.check_executor", lambda name: None)
    err = sentence(capsys, "run", "in", "--out", "out", *options)
    assert named in err and "3 frames are aligned in one piece" in err


def test_a_missing_package_for_clips_is_told_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("recon4d.run.pipeline.read_stage", None)
    err = sentence(capsys, "run", "in", "--out", "out", "--executor", "ray")
    assert "pip install 'recon4d[ray]'" in err


def test_nothing_refines_masks_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    err = sentence(capsys, "run", "in", "--masks", "own", "--refine", "sam2")
    assert "--refine sam2 refines the masks of a method" in err


def test_a_place_for_the_result_in_memory_is_refused() -> None:
    options: dict[str, Any] = {"out": "out"}
    with pytest.raises(ConfigError, match=r"out is for recon4d run: .* call save\(folder\)"):
        recon4d.reconstruct("in", **options)
    assert not Path("out").exists()


CONFIGS: dict[str, tuple[bytes, str]] = {
    "NUL": (b'input = "in"\n\0', "is not text"),
    "escaped NUL": (b'input = "in\\u0000"', "input has a NUL byte"),
    "NUL in a list": (b'input = "in"\nweights = ["pi3=\\u0000"]', "weights has a NUL byte"),
    "Latin-1": (b'input = "caf\xe9"', "is not text"),
    "no TOML": (b"input = ", "is not valid TOML"),
    "nested": (b"a = " + b"[" * 90_000, "is not valid TOML"),
    "dotted": (b"a." * 40_000 + b"a = 1", "is not valid TOML .nested too deeply"),
    "large": (b"#" * 200_000, "has more than 0.1 MB"),
    "unknown": (b'input = "in"\nsise = 3', "there is no option 'sise'"),
    "list of inputs": (b"input = [1, 2]", "input must be a path"),
    "table for a number": (b'input = "in"\nsize = {a = 1}', "there is no option 'size.a'"),
    "number for a table": (b'input = "in"\noptim = 3', "there is no option 'optim'"),
    "text": (b'input = "in"\nsize = "big"', "size must be a whole number"),
    "true": (b'input = "in"\nsize = true', "size must be a whole number"),
    "date": (b'input = "in"\nsize = 2020-01-01', "size must be a whole number"),
    "NaN": (b'input = "in"\nstart = nan', "start must be from"),
    "infinite": (b'input = "in"\nstart = inf', "start must be from"),
    "long": (b'input = "in"\nsize = ' + b"9" * 5000, "is not valid TOML"),
    "enormous": (b'input = "in"\nseed = ' + b"9" * 400, "seed must be from .* an enormous number"),
    "enormous float": (b'input = "in"\nstart = ' + b"9" * 400, "start is an enormous number"),
    "negative": (b'input = "in"\nworkers = -1', "workers must be from"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_configurations_that_cannot_be_are_refused(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    content, message = CONFIGS[kind]
    Path("c.toml").write_bytes(content)
    err = sentence(capsys, "run", "--config", "c.toml")
    assert re.search(message, err) and len(err) < 800, err


@pytest.mark.parametrize("name", ["/dev/zero", "in", "absent.toml", "c\0.toml"])
def test_what_is_no_file_is_no_configuration(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    err = sentence(capsys, "run", "--config", name)
    assert "the configuration " in err or "none of a file" in err


def test_weights_are_not_asked_for_where_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub", reason="needs pip install 'recon4d[models]'")

    def connect(*_: object) -> Callable[[], None]:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(transfer, "list_files", connect)
    monkeypatch.setattr(transfer, "is_offline", lambda: False)
    monkeypatch.setattr(transfer.Hub, "folder", property(lambda _: tmp_path / "cache"))
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        err = sentence(capsys, "models", "fetch", "pi3")
    assert "nobody was asked" in err and "give --yes if you agree" in err and "CC BY-NC" in err
