"""The Python interface: lazy, typed, and the example in examples/ runs."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

import recon4d
from recon4d.settings.config import RunConfig

ROOT = Path(__file__).parents[1]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_importing_recon4d_imports_nothing_heavy() -> None:
    done = run_python(
        "-c",
        "import sys, recon4d; dir(recon4d); recon4d.ConfigError\n"
        "print(*[name for name in ('torch', 'open3d', 'cv2', 'numpy') if name in sys.modules])",
    )
    assert (done.stdout, done.stderr) == ("\n", "")


def test_every_public_name_can_be_loaded() -> None:
    loaded = {name: getattr(recon4d, name) for name in recon4d.__all__}
    assert loaded["Reconstruction"].__name__ == "Reconstruction"
    assert issubclass(loaded["InputError"], loaded["Recon4DError"])
    assert loaded["__version__"].count(".") == 2
    assert set(recon4d.__all__) <= set(dir(recon4d))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recontsruct'"):
        getattr(recon4d, "recontsruct")  # noqa: B009 (a type checker would see the typo)


def test_python_keywords_are_the_options_of_a_run() -> None:
    from recon4d.api import RunOptions

    options = {field.name for field in fields(RunConfig)} - {"input", "out"}
    assert set(get_type_hints(RunOptions)) == options


def test_a_wrong_keyword_is_answered_with_the_nearest() -> None:
    with pytest.raises(recon4d.ConfigError, match="did you mean 'stride'"):
        recon4d.reconstruct("video.mp4", strides=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("option", "value", "answer"),
    [
        (
            "poses",
            np.tile(np.eye(4), (4, 1, 1)),
            r"poses is of type ndarray, shape \(4, 4, 4\); the path of a file",
        ),
        (
            "poses",
            [[0.0] * 8],
            "poses is of type list; the path of a file was needed: write them there",
        ),
        ("masks", np.zeros((4, 96, 128), bool), r"shape \(4, 96, 128\); the name of a method .*"),
        (
            "masks",
            [np.zeros((96, 128))] * 4,
            "type list; .* the path of a folder with one mask image",
        ),
    ],
)
def test_arrays_in_the_place_of_files_are_answered_with_what_is_taken(
    option: str, value: object, answer: str
) -> None:
    frames = np.zeros((4, 96, 128, 3), np.uint8)
    with pytest.raises(recon4d.ConfigError, match=answer) as raised:
        recon4d.reconstruct(frames, **{option: value})  # type: ignore[arg-type]
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250
    with pytest.raises(recon4d.ConfigError, match="max_frames must be a whole number"):
        recon4d.reconstruct(frames, max_frames=np.arange(3))  # type: ignore[arg-type]


def test_a_missing_input_is_named_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(recon4d.InputError, match=r"absent\.mp4"):
        recon4d.reconstruct("absent.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_example_file_runs_on_a_real_video(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "result"
    video = shared_data / "videos/apple.mp4"
    done = run_python(str(ROOT / "examples/python_api.py"), str(video), str(out))
    assert done.returncode == 0, done.stderr
    assert "equal depth read back: True" in done.stdout
    again = recon4d.load(out)
    assert again.world_from_cam.shape == (8, 4, 4)
    assert np.isfinite(again.depth).all() and (again.depth > 0).any()
    assert 'input = "' in again.config_toml and "recon4d-" not in again.config_toml
