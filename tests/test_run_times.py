"""What a run says of its time: every second has a name, wall time is told, stages are logged, one bar for all."""

import io
import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recon4d import cli
from recon4d.cli.info import describe_result
from recon4d.cli.screen import show_run
from recon4d.optim.start.seed import pair_geometry
from recon4d.run.overall import run_plan
from tests.media import textured_frames, write_images
from tests.test_run_refused import INTRINSICS, run_command

RUN = ["run", "in", "--out", "out", "--masks", "residual", "--loop", "1", *INTRINSICS]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_stages_of_a_run_sum_up_to_its_wall_time() -> None:
    write_images(Path("in"), textured_frames(6))
    assert run_command(*RUN).returncode == 0  # in a process of its own: imports are a part of it
    run = json.loads(Path("out/run.json").read_text())
    assert next(iter(run["stages"])) == "start" and list(run["stages"])[-2:] == ["write", "preview"]
    total_s = sum(cost["seconds"] for cost in run["stages"].values())
    assert run["seconds"] == pytest.approx(total_s)
    assert run["wall_seconds"] == pytest.approx(total_s, abs=1.0)
    assert f"time:       {run['wall_seconds']:.1f} s (" in describe_result(Path("out"))


def test_every_stage_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    write_images(Path("in"), textured_frames(4))
    with caplog.at_level(logging.INFO, logger="recon4d"):
        assert cli.main(RUN) == 0
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("stage ")]
    stages = json.loads(Path("out/run.json").read_text())["stages"]
    named = [line.split()[1].rstrip(":") for line in lines]
    assert set(named) == set(stages) - {"start", "write", "preview"}


def test_the_screen_tells_the_whole_time_of_the_first_cameras(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes before the growing of the reconstruction is a part of it."""

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.5)
        return pair_geometry(*arguments)

    monkeypatch.setattr("recon4d.optim.align.pair_geometry", slowly)
    write_images(Path("in"), textured_frames(4))
    assert cli.main(RUN) == 0
    (shown_s,) = re.findall(r"^initialise: done in (.*) s$", capsys.readouterr().err, re.MULTILINE)
    stages = json.loads(Path("out/run.json").read_text())["stages"]
    assert float(shown_s) >= 0.5
    assert float(shown_s) == pytest.approx(stages["initialise"]["seconds"], abs=0.3)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_long", [False, True])
def test_a_terminal_shows_one_bar_that_only_grows(
    is_long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    stages = [name for name, _ in run_plan(2)]
    if is_long:
        stages = ["read", "clips alone", "keyframes", "clips between keyframes"]
    stages.remove(stages[-2])  # one that does not come
    with show_run(2) as progress:
        shares = []
        for stage in stages:
            with progress(stage, total=4) as counter:
                for _ in range(4):
                    counter.advance()
                    shares.append(progress.bar.tqdm.n)  # type: ignore[attr-defined]
    assert shares == sorted(shares) and shares[-1] == 1000
    lines = screen.getvalue().splitlines()
    assert "100%" in lines[-1] and "left" in lines[-1]
