"""A run that is interrupted in any stage goes on where it was, to the same result as one that was not."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from recon4d import cli
from recon4d.core import stages
from recon4d.networks.u2net import U2net
from recon4d.results.folder import write_run
from recon4d.run import finish as finish_steps
from recon4d.run import resume
from tests import coarse
from tests.media import write_images
from tests.synthetic import make_scene

STAGES = (
    "read",
    "flow",
    "initialise",
    "features",
    "masks_0",
    "shutter",
    "optimise_0",
    "guided_flow",
    "masks_1",
    "optimise_1",
    "refine",
    "depth",
    "spread",
    "check",
)
"""The stages of the run of these tests, in their order."""
FAST = ("masks_0", "depth")
"""Those whose interruption the fast tests try, beside the last step."""
WRITE = "write"
"""The last step, which leaves no checkpoint."""
RUN = ("run", "in", "--out", "out", "--loop", "1", "--intrinsics", "110.08,111.36,64.64,46.04")
LOG = "computed.txt"
FORKS = get_context(
    "forkserver"
)  # imports once; children are forked from a process without threads


def _child(argv: tuple[str, ...], stage: str | None, number: int) -> None:
    """Run a command in its own process; note the stages that it computes, and send it a signal at the end of one."""
    real_stage, real_run = stages.run_stage, write_run

    def finish(name: str) -> None:
        with Path(LOG).open("a") as log:
            log.write(f"{name}\n")
        if name == stage:
            os.kill(os.getpid(), number)

    def run_stage(folder: Path, name: str, kind: Any, compute: Callable[[Path], Any]) -> Any:
        def observed(growing: Path) -> Any:
            value = compute(growing)
            finish(name)  # large arrays lie in the stage's folder by now, the stage is not complete
            return value

        return real_stage(folder, name, kind, observed)

    def last_file(*arguments: Any) -> None:
        real_run(*arguments)
        finish(WRITE)

    replacements = ((stages, "run_stage", run_stage), (finish_steps, "write_run", last_file))
    for module, name, replacement in replacements:
        setattr(module, name, replacement)
    U2net.forward = coarse.forward  # type: ignore[method-assign]  # as in the fixture `small_salience`
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
    os._exit(cli.main(argv))


def run(argv: tuple[str, ...], stage: str | None = None, number: int = 0) -> tuple[int, list[str]]:
    """Return the exit code of a run (negative: the signal that ended it) and the stages that it computed."""
    Path(LOG).write_text("")
    process = FORKS.Process(target=_child, args=(argv, stage, number))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, Path(LOG).read_text().split()


def content(folder: Path) -> dict[str, object]:
    """All files, run.json without times and memory."""
    files: dict[str, object] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    facts = json.loads((folder / "run.json").read_text())
    costs = facts.pop("stages")
    assert set(costs) == {"start", *STAGES, WRITE, "preview"}
    for name in ("seconds", "wall_seconds", "peak_rss_mb"):
        facts.pop(name)
    return files | {"run.json": facts}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small video of a moving box, and the result of the uninterrupted run."""
    FORKS.set_forkserver_preload(
        ["recon4d.run.pipeline", "recon4d.cli.commands", "recon4d.cli.info"]
    )
    folder = tmp_path_factory.mktemp("resume")
    write_images(folder / "in", make_scene(6, (128, 96), seed=5, mover=True).video.images)
    before = Path.cwd()
    os.chdir(folder)
    try:
        code, computed = run(RUN)
        assert (code, computed) == (0, [*STAGES, WRITE])
        Path("out").rename("uninterrupted")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, marks=() if stage in (*FAST, WRITE) else pytest.mark.slow)
        for stage in (*STAGES, WRITE)
    ],
)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -signal.SIGKILL),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_is_resumed(stage: str, number: int, code: int) -> None:
    steps = [*STAGES, WRITE]
    at = steps.index(stage)
    assert run(RUN, stage, number) == (code, steps[: at + 1])
    assert not Path("out").exists()
    assert Path(".out.partial").is_dir()
    assert run((*RUN, "--resume")) == (0, steps[at:])
    assert not Path(".out.partial").exists()
    Path("out").rename("resumed")
    try:
        assert content(Path("resumed")) == content(Path("uninterrupted"))
    finally:
        remove("resumed")


def test_without_resume_an_interrupted_run_begins_anew() -> None:
    assert run(RUN, "depth", signal.SIGKILL)[0] == -signal.SIGKILL
    assert run(RUN) == (0, [*STAGES, WRITE])
    assert not Path(".out.partial").exists()
    remove("out")


def test_resume_without_anything_to_resume_is_a_run() -> None:
    assert run((*RUN, "--resume")) == (0, [*STAGES, WRITE])
    remove("out")


def test_a_replacing_run_keeps_the_old_result_until_it_is_done() -> None:
    shutil.copytree("uninterrupted", "out")
    old = content(Path("out"))
    other = (*RUN, "--overwrite", "--masks", "none")
    assert run(other, "depth", signal.SIGINT)[0] == 130
    assert content(Path("out")) == old
    code, computed = run((*other, "--resume"))
    assert (code, computed) == (0, ["depth", "spread", "check", WRITE])
    assert json.loads(Path("out/run.json").read_text())["masks"] == "none"
    remove("out")


def test_a_run_that_was_killed_while_tidying_up_is_done() -> None:
    assert run(RUN, WRITE, signal.SIGKILL)[0] == -signal.SIGKILL
    folder = Path(".out.partial")
    resume.will_publish(folder, folder / "result")
    Path(".out.partial/result").rename("out")  # what publishing does
    assert run((*RUN, "--resume")) == (0, [])
    assert not Path(".out.partial").exists()
    remove("out")


def remove(name: str) -> None:
    shutil.rmtree(name)
