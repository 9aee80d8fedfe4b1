"""Runs inside their input's folder, exports that meet others' files, partial folders that are damaged."""

from pathlib import Path
from typing import Any

import pytest

from recon4d import cli, export
from recon4d.run import inputs
from recon4d.settings.config import RunConfig
from tests.media import textured_frames, write_images
from tests.test_run_refused import INTRINSICS, refused
from tests.test_run_safety import RUN, a_result, interrupted, precious


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")


def test_a_run_inside_the_folder_of_its_input_is_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))
    monkeypatch.chdir("in")
    run = ["run", ".", "--masks", "residual", "--loop", "0", *INTRINSICS]
    interrupted(monkeypatch, run)
    a_result("other_recon4d")
    Path(".DS_Store").touch()
    assert cli.main([*run, "--resume"]) == 0
    assert Path("in_recon4d/run.json").exists() and not Path(".in_recon4d.partial").exists()


@pytest.mark.parametrize("small", [True, False])
def test_a_file_of_a_folder_is_told_from_another_of_its_size(
    small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(Path("in"), textured_frames(2))
    config = RunConfig(input=Path("in"))
    if not small:
        monkeypatch.setattr(inputs, "WHOLE_BYTES", 0)
    before = inputs.fingerprint(config)
    assert inputs.fingerprint(config) == before
    file = Path("in/0001.png")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert inputs.fingerprint(config) != before


@pytest.mark.parametrize("to", ["ply", "glb"])
def test_what_appears_during_an_export_stays(
    to: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_result()
    target = Path("scene.glb" if to == "glb" else "scene")
    real = export._write

    def appear(*arguments: Any) -> None:
        real(*arguments)
        if to == "glb":
            target.write_text("mine")
        else:
            precious("scene")

    monkeypatch.setattr(export, "_write", appear)
    assert cli.main(["export", "out", "--to", to, "--out", str(target)]) == 2
    assert "never overwritten" in capsys.readouterr().err
    kept = target if to == "glb" else target / "thesis.txt"
    assert kept.read_text() in ("mine", "three years of work")
    assert {path.name for path in Path.cwd().iterdir()} == {"out", target.name}


def test_a_file_among_the_pictures_of_an_export_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = a_result()
    assert cli.main(["export", "out", "--to", "nerfstudio"]) == 0
    (result / "export/nerfstudio/images/mine.txt").write_text("mine")
    capsys.readouterr()
    sentence = refused(["export", "out", "--to", "nerfstudio"], capsys)
    assert "what recon4d did not write (images/mine.txt)" in sentence
    (result / "export/nerfstudio/images/mine.txt").rename("mine.txt")
    (result / "export/nerfstudio/images/.DS_Store").touch()
    assert cli.main(["export", "out", "--to", "nerfstudio"]) == 0


def test_results_and_exports_take_names_of_255_bytes() -> None:
    result = a_result("r" * 255)
    assert cli.main(["export", str(result), "--to", "ply", "--out", "e" * 255]) == 0
    assert sorted(len(path.name) for path in Path.cwd().iterdir()) == [255, 255]


@pytest.mark.parametrize("how", ["all files gone", "inputs.json", "inputs gone", "config.toml"])
def test_a_damaged_partial_folder_is_told_or_computed_again(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(4))
    interrupted(monkeypatch, RUN)
    folder = Path(".out.partial")
    if how == "all files gone":
        for path in (folder / "flow").iterdir():
            path.unlink()
        assert cli.main([*RUN, "--resume"]) == 0
        return
    if how == "inputs gone":
        (folder / "inputs.json").unlink()
    else:
        (folder / how).write_bytes(b"\xff[]" if how == "config.toml" else b"[]")
    capsys.readouterr()
    sentence = refused([*RUN, "--resume"], capsys)
    assert "begin anew" in sentence
    if how != "config.toml":
        assert "with recon4d an older version" in sentence
