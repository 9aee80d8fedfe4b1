"""Results that were tampered with: every command that reads one says which file is damaged, and writes nothing."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import recon4d
from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.results.folder import write_result
from tests.tampered import KINDS, run, tiny_result
from tests.test_run_refused import listing

COMMANDS = (
    ["info", "out"],
    ["view", "out"],
    ["view", "out", "--web"],
    ["view", "out", "--png", "a.png"],
    ["eval", "out", "--gt", "gt.txt", "--json", "a.json"],
    *(["export", "out", "--to", to] for to in ("ply", "colmap", "nerfstudio", "glb", "overlay")),
)
QUICK = tuple(command for command in COMMANDS if command[0] in ("info", "eval"))
"""Commands of the fast test, beside `recon4d.load`; the others read a result as that does."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result that nobody touched."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    write_result(tiny_result(), folder)
    return folder


@pytest.fixture
def in_a_copy(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, "out")
    shutil.copy("out/poses.txt", "gt.txt")
    yield Path("out")


def check_sentence(err: str, pattern: str) -> None:
    assert err.startswith("recon4d: error: ") and err.count("\n") == 1, err
    assert re.search(pattern, err), err
    assert re.search("damaged|not a result|result format", err) and len(err) < 600, err


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_result_is_refused(
    kind: str, in_a_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(kind, QUICK, in_a_copy, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_command_takes_a_damaged_result(
    kind: str, in_a_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(kind, COMMANDS, in_a_copy, capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_reads_strictly(
    command: list[str], in_a_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused("frames.txt short", (command,), in_a_copy, capsys)


def check_refused(
    kind: str,
    commands: tuple[list[str], ...],
    in_a_copy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    how = KINDS[kind]
    how.damage(in_a_copy)
    before = listing(Path.cwd())
    for command in commands:
        if kind == "run gone" and command[0] == "info":
            continue  # a folder like any other
        is_seen = how.is_seen_by_info or command[0] != "info"
        assert cli.main(command) == (2 if is_seen else 0), command
        out, err = capsys.readouterr()
        if is_seen:
            assert out == "", command
            check_sentence(err, how.message)
    with pytest.raises(InputError, match=how.message):
        recon4d.load("out")
    assert listing(Path.cwd()) == before, "nothing was written, and no pickle was run"


def test_a_whole_result_is_taken(in_a_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the damage is what is refused; files and entries of the user's own are none."""
    (in_a_copy / "images/Thumbs.db").write_text("mine")
    (in_a_copy / "notes.txt").write_text("mine")
    run(mine={"a": [1]})(in_a_copy)
    for command in COMMANDS:
        if command in (["view", "out"], ["view", "out", "--web"]):
            continue  # they stay open
        assert cli.main(command) == 0, (command, capsys.readouterr())
    assert len(recon4d.load("out").sources) == 3


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    result = tiny_result()
    result.run["warnings"] = "none"
    with pytest.raises(InputError, match=r"run\.json: warnings is \"none\""):
        write_result(result, tmp_path / "out")
    assert not (tmp_path / "out/run.json").exists()


def test_the_file_says_what_the_reader_checks(whole: Path) -> None:
    assert json.loads((whole / "run.json").read_text())["format"] == 1
