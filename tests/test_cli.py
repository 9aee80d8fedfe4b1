"""The command line: help, bad options, exit codes. What runs the pipeline is tested elsewhere."""

import errno
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from recon4d import cli
from recon4d.cli import commands, parser
from recon4d.cli.screen import show_progress
from recon4d.core.progress import Counter, Progress, no_progress

ROOT = Path(__file__).parents[1]
HELP_LIMIT_S = 1.0
"""The contract of `--help`."""
HEAVY = ("torch", "open3d", "cv2", "numpy", "scipy", "viser", "evo", "av", "tqdm", "jaxtyping")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def error_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that must be refused; return its one sentence."""
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("recon4d: error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy_and_is_quick(argv: list[str]) -> None:
    code = f"""
import sys, time
begin = time.perf_counter()
from recon4d.cli import main
try:
    assert main({argv}) == 0
except SystemExit as end:
    assert end.code == 0
print("SECONDS", time.perf_counter() - begin)
print("HEAVY", *[name for name in {HEAVY} if name in sys.modules])
"""
    done = run_python(code)
    lines = done.stdout.splitlines()
    assert lines[-1] == "HEAVY", done.stderr
    assert float(lines[-2].split()[1]) < HELP_LIMIT_S
    assert "recon4d" in lines[0]


def test_help_of_run_names_every_option_of_the_contract(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = capsys.readouterr().out
    options = "out masks geometry flow refine weights intrinsics focal poses pose-sigma size fps stride start"
    options += " max-frames loop device workers executor seed resume overwrite config set"
    assert [name for name in options.split() if f"--{name} " not in text + " "] == []


def test_a_missing_command_shows_the_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu", "a.mp4"], "no command 'rnu' (did you mean 'run'?)"),
        (["run"], "the input is missing"),
        (["run", "a.mp4", "b.mp4"], "'b.mp4' is one argument too many"),
        (["run", "a.mp4", "--maks", "none"], "no option --maks (did you mean '--masks'?)"),
        (["run", "a.mp4", "--strid=3"], "no option --strid (did you mean '--stride'?)"),
        (["run", "a.mp4", "--size"], "expected one argument"),
        (["run", "a.mp4", "--size", "huge"], "size must be a whole number, got 'huge'"),
        (["run", "a.mp4", "--masks", "residal"], "did you mean 'residual'?"),
        (["run", "a.mp4", "--masks", "geomotion"], "recon4d models fetch geomotion"),
        (["run", "a.mp4", "--geometry", "paralax"], "did you mean 'parallax'?"),
        (["run", "a.mp4", "--flow", "raft"], "recon4d models fetch raft-large"),
        (["run", "a.mp4", "--refine", "sam2"], "recon4d models fetch sam2-large"),
        (["run", "a.mp4", "--refine", "edge"], "did you mean 'edges'?"),
        (["run", "a.mp4", "--device", "gpu"], "available: auto, cpu, cuda"),
        (["run", "a.mp4", "--pose-sigma", "0.1"], "but none are given; add --poses FILE"),
        (
            ["run", "a.mp4", "--focal", "per-frame", "--intrinsics", "500,500,320,240"],
            "--intrinsics 500,500,320,240 fixes the focal length",
        ),
        (["run", "a.mp4", "--weights", "rafft=w.pth"], "write NAME=PATH with NAME one of: d2mif"),
        (["run", "a.mp4", "--fps", "5", "--stride", "2"], "both choose frames"),
        (["run", "a.mp4", "--start", "-1"], "start must be from 0"),
        (["run", "a.mp4", "--set", "optim.kernl_px=1"], "did you mean 'optim.kernel_px'?"),
        (["run", "a.mp4", "--set", "size"], "--set needs KEY=VALUE"),
        (["run", "--config", "absent.toml"], "absent.toml cannot be read"),
        (["view"], "the following arguments are required: RESULT"),
        (["view", "r", "--web", "--png", "a.png"], "--web and --png exclude each other"),
        (["view", "r", "--frame", "²"], "--frame must be a whole number of at least 0, got '²'"),
        (["view", "r", "--frame=--5"], "--frame must be a whole number of at least 0, got '--5'"),
        (["view", "r", "--frame", "9" * 5000], f"got '{'9' * 40}...' (5000 characters)"),
        (["view", "r", "--frame", "9" * 4000], f"got '{'9' * 40}...' (4000 characters)"),
        (["view", "r", "--max-std", "9" * 5000], f"got '{'9' * 40}...' (5000 characters)"),
        (["eval", "r"], "r is no result folder"),
        (["eval", "r", "--gt", "g", "--align", "sim"], "did you mean 'sim3'?"),
        (["eval", "r", "--gt", "g", "--max-diff", "0"], "--max-diff must be a number above 0"),
        (["eval", "r", "--gt", "g", "--depth-scale", "scale"], "did you mean 'scale_shift'?"),
        (["export", "r"], "required: --to"),
        (["export", "r", "--to", "colmapp"], "did you mean 'colmap'"),
        (["export", "r", "--to", "plx"], "did you mean 'ply'?"),
        (["export", "r", "--to", "ply", "--depth-size", "original"], "ply has none; leave it out"),
        (["info", "nowhere"], "nowhere does not exist"),
        (["models", "fetch", "dust4r"], "dust3r"),
        (["train", "d2mif", "--out", "x", "--epochs", "3"], "there is no option --epochs"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_sentence(
    argv: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error_of(argv, capsys)
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_command_line_win_over_set_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'input = "a.mp4"\nsize = 512\nstride = 3\nloop = 1\n[optim]\ngrid_px = 8\nkernel_px = 1\n'
    )
    argv = ["run", "--config", str(file), "--set", "size=256", "--set", "optim.kernel_px=0.5"]
    config = commands.run_config(parser.parse([*argv, "--size", "128", "--fps", "10"]))
    assert (config.input, config.size, config.loop) == (Path("a.mp4"), 128, 1)
    assert (config.fps, config.stride) == (10.0, 1)
    assert (config.optim.grid_px, config.optim.kernel_px) == (8, 0.5)


def interrupt(arguments: Namespace) -> None:
    raise KeyboardInterrupt


def fill_the_disk(arguments: Namespace) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/depth/000000.npy")


def have_a_bug(arguments: Namespace) -> None:
    raise ZeroDivisionError


def test_an_interrupted_run_says_how_to_continue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "run", interrupt)
    assert cli.main(["run", "my clip.mp4"]) == 130
    assert "continue with: recon4d run 'my clip.mp4' --resume\n" in capsys.readouterr().err
    assert cli.main(["run", "a.mp4", "--resume"]) == 130
    assert "continue with: recon4d run a.mp4 --resume\n" in capsys.readouterr().err


def test_an_interrupted_export_promises_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "export", interrupt)
    assert cli.main(["export", "r", "--to", "ply"]) == 130
    assert capsys.readouterr().err == "recon4d: interrupted\n"


def test_a_full_disk_is_the_users_to_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "run", fill_the_disk)
    message = error_of(["run", "a.mp4"], capsys)
    assert "No space left on device: out/depth/000000.npy; free some space" in message


def test_a_bug_keeps_its_traceback_and_exits_1() -> None:
    done = run_python(
        "import sys; from recon4d import cli; from recon4d.cli import commands\n"
        "def bug(arguments): raise ZeroDivisionError\n"
        "commands.COMMANDS['info'] = bug\n"
        "sys.exit(cli.main(['info', 'x']))"
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


def test_progress_is_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_progress("flow", 3) as counter:
        counter.advance(3)
    assert capsys.readouterr().err == "flow: done in 0.0 s\n"


def test_a_long_stage_shows_that_it_lives(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = iter([0.0, 4.0, 11.0, 12.0, 12.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(now_s))
    with show_progress("flow", 3) as counter:
        for _ in range(3):
            counter.advance()
    assert capsys.readouterr().err == "flow: 2 of 3\nflow: done in 12.5 s\n"


def test_progress_is_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress("flow", 4) as counter:
        counter.advance(4)
    text = capsys.readouterr().err
    assert "flow" in text and "100% |" in text


def test_every_progress_has_the_same_shape() -> None:
    for progress in (no_progress, show_progress):
        assert isinstance(progress, Progress)
    with no_progress("flow", 2) as counter:
        assert isinstance(counter, Counter)
        counter.advance(2)
