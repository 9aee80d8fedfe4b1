"""Nothing of the user's is lost or mixed: links, strangers, two runs at once, changed inputs, damaged stages.

After every attack the whole folder around the result is compared with what it was.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.io import files
from recon4d.results.preview import write_preview
from recon4d.run import finish, inputs, pipeline, reconstruct, resume
from tests.media import textured_frames, write_images
from tests.test_run_refused import INTRINSICS, ROOT, listing, refused, small_result

SLOW = pytest.mark.slow
THESIS = "three years of work"
CAMERA = [*INTRINSICS, "--readout", "0"]
RUN = ["run", "in", "--out", "out", "--masks", "residual", "--loop", "0", *CAMERA]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of one's own; after every attack, all around it is as the test has made it."""
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    yield
    around = {name: data for name, data in listing(tmp_path).items() if name[:5] != "place"}
    assert around in ({}, {"precious": None, "precious/thesis.txt": THESIS.encode()})
    left = [path.name for path in Path.cwd().iterdir() if path.name[:8] == ".recon4d"]
    assert not left, "a folder or a probe of our own stays"


def a_result(folder: str = "out") -> Path:
    small_result().save(folder)
    return Path(folder)


def precious(folder: str = "../precious") -> Path:
    path = Path(folder)
    path.mkdir(parents=True)
    (path / "thesis.txt").write_text(THESIS)
    return path


@pytest.mark.parametrize("link", ["export", "export/ply", "export/colmap"])
@pytest.mark.parametrize("dangling", [False, True])
def test_an_export_follows_no_link(
    link: str, dangling: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    result, outside = a_result(), precious()
    place = result / link
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(("../" * len(place.parts)) + ("nowhere" if dangling else "precious"))
    to = "colmap" if link.endswith("colmap") else "ply"
    before = listing(outside)
    sentence = refused(["export", "out", "--to", to], capsys)
    assert f"{place} is a link, which exports do not follow" in sentence
    assert listing(outside) == before and not Path("../nowhere").exists()


def test_an_export_replaces_only_what_an_export_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    result = a_result()
    precious("out/export/ply")
    assert "holds files that are not an export" in refused(["export", "out", "--to", "ply"], capsys)
    assert cli.main(["export", "out", "--to", "nerfstudio"]) == 0
    (result / "export/nerfstudio/my_training.ckpt").write_text("days")
    capsys.readouterr()
    sentence = refused(["export", "out", "--to", "nerfstudio"], capsys)
    assert "what recon4d did not write (my_training.ckpt)" in sentence
    (result / "export/nerfstudio/my_training.ckpt").unlink()
    assert cli.main(["export", "out", "--to", "nerfstudio"]) == 0


@pytest.mark.parametrize(
    "stranger", ["notes.txt", "depth/mine.npy", "images/000000.txt", "export/mine/x", "more/x"]
)
def test_overwriting_deletes_no_strangers_in_a_result(
    stranger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    path = a_result() / stranger
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    sentence = refused([*RUN, "--overwrite"], capsys)
    assert "also holds what recon4d did not write" in sentence and "move it away" in sentence


def test_a_result_with_exports_of_its_own_is_overwritten_and_nothing_stays_aside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(4))
    a_result()
    assert cli.main(["export", "out", "--to", "ply"]) == 0
    assert cli.main([*RUN, "--overwrite"]) == 0
    assert {path.name for path in Path.cwd().iterdir()} == {"in", "out"}
    assert json.loads(Path("out/run.json").read_text())["frames"] == 4


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_has_the_name_of_a_partial_folder_and_is_not_ours_stays(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    if kind == "folder":
        precious(".out.partial")
    elif kind == "file":
        Path(".out.partial").write_text("mine")
    else:
        precious()
        Path(".out.partial").symlink_to("../precious")
    for extra in ([], ["--resume"]):
        assert ".out.partial is in the way" in refused([*RUN, *extra], capsys)
    assert not Path("../precious").exists() or (Path("../precious/thesis.txt")).exists()


@pytest.mark.parametrize("files", [[], ["run.json"], ["run.json", "poses.txt", "frames.txt"]])
def test_a_result_that_has_the_name_of_a_partial_folder_stays(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    a_result(".out.partial")
    for name in files:  # damaged or not
        Path(".out.partial", name).unlink()
    for extra in ([], ["--resume"], ["--overwrite"]):
        sentence = refused([*RUN, *extra], capsys)
        assert (
            ".out.partial is in the way: recon4d works there, and it holds a finished" in sentence
        )


@pytest.mark.parametrize(
    "name",
    [
        "clips",
        "flow",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("lock", "result", "read/images.npy")),
    ],
)
def test_a_link_in_a_partial_folder_is_not_followed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))
    interrupted(monkeypatch, RUN, at="read_frames" if name == "flow" else "densify")
    capsys.readouterr()
    outside, link = precious(), Path(".out.partial", name)
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside.absolute() / ("thesis.txt" if "." in name or name == "lock" else ""))
    for extra in ([], ["--resume"]):
        sentence = refused([*RUN, *extra], capsys)
        assert f"{link.name} is a link, which recon4d does not follow" in sentence


def test_a_folder_of_the_users_that_earlier_versions_moved_results_to_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(4))
    a_result()
    before = listing(precious(".out.replaced"))
    assert cli.main([*RUN, "--overwrite"]) == 0
    assert listing(Path(".out.replaced")) == before


def start(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "recon4d", *argv],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(process: subprocess.Popen[str]) -> int:
    """The exit code of a process, when it has ended."""
    process.communicate()
    return process.returncode


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end_s, process.communicate()
        time.sleep(0.01)


def test_the_second_of_two_runs_into_one_place_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(6))
    first = start(*RUN)
    wait_for(Path(".out.partial/config.toml"), first)
    first.send_signal(signal.SIGSTOP)  # alive, and not too fast for this test
    try:
        for extra in ([], ["--resume"], ["--overwrite"]):
            code = cli.main([*RUN, *extra])
            sentence = capsys.readouterr().err.splitlines()[-1]
            assert code == 2
            assert f"another run of recon4d (process {first.pid}) is at work in" in sentence
    finally:
        first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert {path.name for path in Path.cwd().iterdir()} == {"in", "out"}


def interrupted(monkeypatch: pytest.MonkeyPatch, argv: list[str], at: str = "densify") -> None:
    """Leave a partial folder whose stages before the given one are done."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reconstruct, at, interrupt)
        assert cli.main(argv) == 130


def change_video() -> None:
    write_images(Path("in"), textured_frames(1, seed=5), ["0001.png"])


def change_masks() -> None:
    write_images(Path("masks"), np.full((1, 96, 128), 255, np.uint8)[:, :5], ["0001.png"])


def change_intrinsics() -> None:
    Path("k.txt").write_text("101 100 63.5 47.5\n")


@pytest.mark.parametrize(
    ("change", "named"),
    [(change_video, "in"), (change_masks, "masks"), (change_intrinsics, "k.txt")],
)
def test_an_input_that_changed_is_named_and_nothing_is_mixed(
    change: Callable[[], None],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(4))
    write_images(Path("masks"), np.zeros((4, 96, 128), np.uint8))
    Path("k.txt").write_text("100 100 63.5 47.5\n")
    run = ["run", "in", "--out", "out", "--masks", "masks", "--intrinsics", "k.txt"]
    run += ["--loop", "0", "--readout", "0"]
    interrupted(monkeypatch, run)
    capsys.readouterr()
    change()
    sentence = refused([*run, "--resume"], capsys)
    assert f"{named} has changed since the run in" in sentence and "begin anew" in sentence


def test_another_version_of_recon4d_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))
    interrupted(monkeypatch, RUN)
    capsys.readouterr()
    monkeypatch.setattr(inputs, "code", lambda: "0.9.9 (abc)")
    sentence = refused([*RUN, "--resume"], capsys)
    assert "was begun with recon4d 0.1.0 (" in sentence and "this is 0.9.9 (abc)" in sentence


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(
            *each, marks=() if each in ((".npy", "emptied"), ("stage.json", "gone")) else SLOW
        )
        for each in product(
            ("stage.json", "cost.json", "checksums.json", ".npy"),
            ("emptied", "gone", "truncated", "overwritten"),
        )
    ],
)
def test_a_damaged_stage_is_computed_again(
    how: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))
    assert cli.main(RUN) == 0
    wanted = listing(Path("out"))
    Path("out").rename("whole")
    interrupted(monkeypatch, RUN)
    file = next(p for p in sorted(Path(".out.partial/flow").iterdir()) if p.name.endswith(name))
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        half = content[: len(content) // 2]
        noise = bytes(byte ^ 255 for byte in content)
        file.write_bytes({"truncated": half, "emptied": b"", "overwritten": noise}[how])
    capsys.readouterr()
    assert cli.main([*RUN, "--resume"]) == 0
    assert "the stored stage 'flow' is damaged; it is computed again" in capsys.readouterr().err
    found = listing(Path("out"))
    assert {k: v for k, v in found.items() if k != "run.json"} == {
        k: v for k, v in wanted.items() if k != "run.json"
    }


@pytest.mark.parametrize("left", ["config.toml", "published"])
def test_a_run_that_was_killed_after_its_result_was_in_place_ends_clean(
    left: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))

    def stop(folder: Path) -> None:
        if left == "published":  # killed when all but the last was removed
            resume._empty(folder, keep=("published",))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "clear", stop)
        assert cli.main(RUN) == 130
    assert Path("out/run.json").exists() and Path(".out.partial", left).exists()
    before = listing(Path("out"))
    assert cli.main([*RUN, "--resume"]) == 0
    assert {path.name for path in Path.cwd().iterdir()} == {"in", "out"}
    assert listing(Path("out")) == before


def test_where_two_folders_cannot_be_exchanged_a_kill_between_the_moves_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))
    old = listing(a_result())
    real, calls = os.rename, []

    def rename(one: Path, other: Path) -> None:
        calls.append(one)
        if Path(other).name == "out" and len(calls) > 1:
            raise KeyboardInterrupt
        real(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(files, "exchange", lambda one, other: False)
        patch.setattr(os, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            files.publish(made_aside(), Path("out"), overwrite=True)
    assert not Path("out").exists()
    folder = files.partial_folder(Path("out"))
    assert not resume.is_published(folder, Path("out"))
    assert listing(Path("out")) == old


def made_aside() -> Path:
    folder = files.partial_folder(Path("out"))
    folder.mkdir()
    small_result().save(folder / "result")
    return folder / "result"


def test_folders_are_exchanged_in_one_step() -> None:
    for name in "ab":
        Path(name).mkdir()
        Path(name, name).touch()
    if not files.exchange(Path("a").resolve(), Path("b").resolve()):
        pytest.skip("this system cannot exchange two folders")
    assert Path("a/b").exists() and Path("b/a").exists()


def test_what_appears_at_the_place_during_a_run_stays_and_so_do_the_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))

    def appear(*arguments: object) -> None:
        write_preview(*arguments)  # type: ignore[arg-type]
        precious("out")

    with monkeypatch.context() as patch:
        patch.setattr(finish, "write_preview", appear)
        assert cli.main(RUN) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "all that was computed is kept" in sentence and "--resume" in sentence
    assert list(listing(Path("out"))) == ["thesis.txt"]
    Path("out").rename("mine")
    assert cli.main([*RUN, "--resume"]) == 0
    assert {path.name for path in Path.cwd().iterdir()} == {"in", "mine", "out"}


def circle(name: str) -> str:
    Path(name).symlink_to(name)
    return name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "/", "the root of the file system"),
        (lambda: circle("loop"), "loop"),
        (lambda: "n" * 300, "more than 255 bytes"),
        (lambda: "d/" * 3000 + "out", "File name too long"),
        (lambda: "no/../in", "is not a result of recon4d"),
    ],
)
def test_strange_places_are_refused_in_a_sentence(
    make: Callable[[], str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    assert message in refused(["run", "in", "--out", make()], capsys)


def test_a_name_of_255_bytes_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("i" * 255), textured_frames(4))
    words = ["run", "i" * 255, "--masks", "residual", "--loop", "0", *CAMERA]
    assert cli.main([*words, "--out", "o" * 255]) == 0
    assert cli.main(words) == 0
    assert sorted(len(path.name) for path in Path.cwd().iterdir()) == [255, 255, 255]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["view", "out", "--png", "nowhere/p.png"], "which is not there"),
        (["view", "out", "--png", "in"], "is a folder"),
        (
            ["eval", "out", "--gt", "out/poses.txt", "--json", "nowhere/e.json"],
            "which is not there",
        ),
    ],
)
def test_a_wrong_place_for_a_file_is_found_before_the_work(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(2))
    a_result()
    import recon4d.evaluate
    import recon4d.viewer

    for module, name in ((recon4d.viewer, "render_png"), (recon4d.evaluate, "evaluate")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("the work was begun"))
    assert message in refused(words, capsys)


def test_a_place_beyond_a_folder_that_is_not_there_is_found_by_all_that_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`no/../x` is `x`: from the first check to the last sentence, and for what is read from a file, too."""
    write_images(Path("in"), textured_frames(4))
    assert cli.main([*RUN[:2], "--out", "no/../out", *RUN[4:]]) == 0, capsys.readouterr().err
    assert f"recon4d view {Path('out').absolute()}" in capsys.readouterr().out
    Path("c.toml").write_text('out = "no/../other"\n')
    assert cli.main([*RUN[:2], "--config", "c.toml", *RUN[4:]]) == 0, capsys.readouterr().err
    assert cli.main(["view", "out", "--png", "no/../p.png"]) == 0, capsys.readouterr().err
    truth = ["--gt", "out/poses.txt", "--json", "no/../e.json"]
    assert cli.main(["eval", "out", *truth]) == 0, capsys.readouterr().err
    assert cli.main(["export", "out", "--to", "ply", "--out", "no/../ply"]) == 0
    capsys.readouterr()
    sentence = refused(["export", "out", "--to", "ply", "--out", "no/../in"], capsys)
    assert "holds files that are not an export" in sentence
    made = {"in", "out", "c.toml", "other", "p.png", "e.json", "ply"}
    assert {path.name for path in Path.cwd().iterdir()} == made


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_ends_as_one_that_was_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGKILL at random moments; each resumed run goes on from what was finished."""
    write_images(Path("in"), textured_frames(12))
    began_s = time.monotonic()
    assert ends(start(*RUN)) == 0
    whole_s = time.monotonic() - began_s
    wanted = listing(Path("out"))
    Path("out").rename("whole")
    chance, kills = random.Random(0), 0
    while kills < 20:
        process = start(*RUN, "--resume")
        try:
            process.wait(chance.uniform(0.3, 1.0) * whole_s)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        ends(process)
        if Path("out").exists() and kills < 20:
            shutil.rmtree("out")
    if not Path("out").exists():
        assert ends(start(*RUN, "--resume")) == 0
    found = listing(Path("out"))
    assert found.keys() == wanted.keys()
    assert all(found[k] == wanted[k] for k in found if k != "run.json")
    assert not Path(".out.partial").exists()
