"""Input and places that `recon4d run` must refuse: exit code 2, one clear sentence, and nothing left behind."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from recon4d.run import pipeline, reconstruct
from tests.media import textured_frames, write_images, write_video

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("small_salience")
INTRINSICS = ("--intrinsics", "100,100,63.5,47.5")
"""Known, so that no focal length is searched for: that takes most of the time of a small run."""
FILE_LIMIT_BYTES = 200_000
"""Smaller than the images of 12 frames at 128x96 in one file, larger than all of Python's own files."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where a result would go by default."""
    monkeypatch.chdir(tmp_path)


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, hidden ones too, with the content of the files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused without a trace; return its sentence."""
    before = listing(Path.cwd())
    code = cli.main(argv)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert listing(Path.cwd()) == before
    return the_sentence(err)


def the_sentence(err: str) -> str:
    """The last line of standard error; before it there are only lines of finished stages."""
    *stages, last = err.splitlines()
    assert all(": done in " in line for line in stages), err
    assert last.startswith("recon4d: error: ")
    return last


def run_command(
    *argv: str, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "recon4d", *argv],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )


def small_video(name: str = "in.mp4", count: int = 12) -> str:
    return str(write_video(Path(name), textured_frames(count)))


def test_a_missing_file_is_refused_by_the_real_command() -> None:
    done = run_command("run", "absent.mp4")
    assert (done.returncode, done.stdout) == (2, "")
    assert the_sentence(done.stderr) == (
        "recon4d: error: absent.mp4 does not exist; a video file, a folder of images or an RGB-D folder was needed: "
        "check the path"
    )
    assert list(Path.cwd().iterdir()) == []


def test_a_folder_without_images_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes").mkdir()
    Path("notes/readme.txt").write_text("nothing to see")
    assert "notes holds no images; give a video file, or a folder with" in refused(
        ["run", "notes"], capsys
    )


def test_an_empty_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.mp4").touch()
    assert "in.mp4 is empty; a video file was needed" in refused(["run", "in.mp4"], capsys)


def test_text_that_is_called_a_video_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.mp4").write_text("Dear diary, today I renamed you.\n" * 100)
    sentence = refused(["run", "in.mp4"], capsys)
    assert "in.mp4 is not a video that can be read" in sentence
    assert "a complete video file was needed: check that it plays" in sentence


def test_one_frame_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refused(["run", small_video(count=1)], capsys)
    assert "in.mp4 has 1 frame; recon4d needs at least 2: give a longer video" in sentence
    write_images(Path("one"), textured_frames(1))
    assert "one has 1 frame; recon4d needs at least 2" in refused(["run", "one"], capsys)


def test_options_that_leave_one_frame_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refused(["run", small_video(), "--stride", "30"], capsys)
    assert "has 12 frames, but" in sentence and "--stride 30" in sentence
    assert "keep 1; recon4d needs at least 2: keep more frames" in sentence


def test_frames_of_different_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(3))
    write_images(Path("in"), textured_frames(1, width=96, height=128), ["0002.png"])
    sentence = refused(["run", "in"], capsys)
    assert "frame 0002.png has 96x128 px, but frame 0000.png has 128x96 px" in sentence
    assert "resize or remove" in sentence


def test_a_damaged_image_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(3))
    Path("in/0001.png").write_bytes(b"not an image")
    assert "0001.png is not an image that can be read" in refused(["run", "in"], capsys)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_video_without_any_texture_is_named_degenerate(
    level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), np.full((6, 96, 128, 3), level, np.uint8))
    sentence = refused(["run", "in"], capsys)
    assert "no two of the 6 frames could be related by optical flow" in sentence
    kind = "black" if level == 0 else "blank"
    assert f"5 of 5 frames that were looked at are {kind}" in sentence


def test_sensor_noise_is_no_texture(capsys: pytest.CaptureFixture[str]) -> None:
    """What a camera with its cap on records: noise that no two frames share."""
    noise = np.random.default_rng(0).normal(8, 2, (6, 96, 128, 3)).clip(0, 255)
    write_images(Path("in"), noise.astype(np.uint8))
    sentence = refused(["run", "in"], capsys)
    assert "no two of the 6 frames could be related by optical flow" in sentence


@pytest.mark.parametrize(
    ("intrinsics", "message"),
    [
        ("100,100,64", "found 3 numbers, needed 4: FX,FY,CX,CY"),
        ("100,100,64,48,0.1", "found 5 numbers, needed 4: FX,FY,CX,CY"),
        ("a,b,c,d", "found 'a', a number was needed"),
        ("absent.txt", "there is no such file; give FX,FY,CX,CY"),
        ("1,1,64,48", "fx is 1 px for images of 128x96 px, needed 12.8 to 2560"),
        ("1e6,1e6,64,48", "fx is 1e+06 px for images of 128x96 px"),
        ("-100,100,64,48", "fx is -100 px for images of 128x96 px"),
        ("nan,100,64,48", "nan"),
        ("100,100,640,480", "the principal point (640, 480) is outside the image of 128x96 px"),
    ],
)
def test_intrinsics_of_a_wrong_shape_or_size_are_refused(
    intrinsics: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    assert message in refused(["run", "in", f"--intrinsics={intrinsics}"], capsys)


def test_an_intrinsics_file_of_a_wrong_shape_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(2))
    Path("k.txt").write_text("100 100 64 48\n100 101 64 48\n")
    sentence = refused(["run", "in", "--intrinsics", "k.txt"], capsys)
    assert "k.txt has 2 cameras, and those of line 1 and line 2 differ; one for all" in sentence
    Path("k.txt").write_text("100 100 64 48 0.1\n")
    assert "k.txt, line 1: found 5 numbers, needed 4, 8 or 9" in refused(
        ["run", "in", "--intrinsics", "k.txt"], capsys
    )


def with_masks(masks: np.ndarray, names: list[str] | None = None) -> list[str]:
    write_images(Path("in"), textured_frames(4))
    write_images(Path("masks"), masks, names)
    return ["run", "in", "--masks", "masks", *INTRINSICS]


def test_a_missing_mask_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    argv = with_masks(np.zeros((3, 96, 128), np.uint8), ["0000.png", "0001.png", "0003.png"])
    sentence = refused(argv, capsys)
    assert "masks has no mask for frame 2 (source 0002.png)" in sentence
    assert "add 0002.png" in sentence


def test_a_mask_of_a_wrong_size_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    argv = with_masks(np.zeros((4, 48, 80), np.uint8))
    sentence = refused(argv, capsys)
    assert "0000.png of frame 0 has 80x48 px" in sentence and "resize it" in sentence


def test_masks_that_cover_everything_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refused(with_masks(np.full((4, 96, 128), 255, np.uint8)), capsys)
    assert "100% of the pixels would be moving" in sentence and "--masks-mean static" in sentence


def test_masks_that_cover_nearly_everything_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    masks = np.full((4, 96, 128), 255, np.uint8)
    masks[:, :2, :2] = 0
    sentence = refused(with_masks(masks), capsys)
    assert "static" in sentence and "mask" in sentence


def test_a_masks_folder_without_images_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("masks").mkdir()
    write_images(Path("in"), textured_frames(2))
    assert "masks holds no images" in refused(["run", "in", "--masks", "masks"], capsys)


def test_a_folder_that_is_not_a_result_is_never_overwritten(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), textured_frames(2))
    write_images(Path("holiday"), textured_frames(2))
    for extra in ([], ["--overwrite"], ["--resume"]):
        sentence = refused(["run", "in", "--out", "holiday", *extra], capsys)
        assert "holiday exists and is not a result of recon4d; it is never overwritten" in sentence
    Path("empty").mkdir()
    sentence = refused(["run", "in", "--out", "empty", "--overwrite"], capsys)
    assert "empty exists and is not a result" in sentence


def test_the_input_is_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(2))
    sentence = refused(["run", "in", "--out", "in", "--overwrite"], capsys)
    assert "never overwritten: choose another --out" in sentence


def small_result() -> Reconstruction:
    count, height, width = 2, 96, 128
    return Reconstruction(
        world_from_cam=np.stack([np.eye(4)] * count),
        intrinsics=np.tile(np.array([100.0, 100.0, 64.0, 48.0]), (count, 1)),
        timestamps_s=np.arange(count) / 30,
        sources=("0000.png", "0001.png"),
        images=textured_frames(count),
        depth=np.ones((count, height, width), np.float32),
        confidence=np.zeros((count, height, width), np.uint8),
        is_dynamic=np.zeros((count, height, width), bool),
        is_metric=False,
        run={"format": 1, "scale": "relative"},
        config_toml='input = "in"\n',
    )


def test_a_result_is_replaced_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(2))
    write_result(small_result(), Path("out"))
    sentence = refused(["run", "in", "--out", "out"], capsys)
    assert "out already holds a result; give --overwrite to replace it" in sentence


def test_a_result_survives_an_overwriting_run_that_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), np.zeros((3, 96, 128, 3), np.uint8))
    write_result(small_result(), Path("out"))
    assert "related by optical flow" in refused(
        ["run", "in", "--out", "out", "--overwrite"], capsys
    )


def test_a_place_below_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(2))
    Path("file").write_text("I am not a folder")
    sentence = refused(["run", "in", "--out", "file/out"], capsys)
    assert "is a file, a folder was needed; choose another --out" in sentence


def test_a_place_that_nobody_can_write_to_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("/proc, which not even root can write to, is not there")
    write_images(Path("in"), textured_frames(2))
    sentence = refused(["run", "in", "--out", "/proc/out"], capsys)
    assert "/proc is not writable" in sentence and "choose another place with --out" in sentence


def test_a_folder_without_write_permission_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the test of /proc is the same for root")
    write_images(Path("in"), textured_frames(2))
    Path("locked").mkdir(mode=0o500)
    sentence = refused(["run", "in", "--out", "locked/out"], capsys)
    assert "locked is not writable" in sentence and "change its permissions" in sentence


def test_folders_on_the_way_to_the_result_are_not_left_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(Path("in"), np.zeros((3, 96, 128, 3), np.uint8))
    Path("deep").mkdir()
    refused(["run", "in", "--out", "deep/er/still/out"], capsys)


@pytest.mark.parametrize(
    "stage",
    [
        "read",
        pytest.param("flow", marks=pytest.mark.slow),
        pytest.param("depth", marks=pytest.mark.slow),
        "result",
    ],
)
def test_a_full_disk_is_named_in_any_stage(
    stage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part of the run that writes fails as it does on a full disk."""
    write_images(Path("in"), textured_frames(4))
    place, name = {
        "read": (reconstruct, "read_frames"),
        "flow": (reconstruct, "measured_flow"),
        "depth": (reconstruct, "densify"),
        "result": (pipeline, "write_all"),
    }[stage]

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(place, name, fill)
    sentence = refused(["run", "in", *INTRINSICS], capsys)
    assert "No space left on device" in sentence and "free some space there" in sentence


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))


def test_files_that_grow_beyond_what_the_place_takes_are_named() -> None:
    write_images(Path("in"), textured_frames(12))
    before = listing(Path.cwd())
    done = run_command("run", "in", *INTRINSICS, before=limit_files)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be written (File too large)" in the_sentence(done.stderr)
    assert listing(Path.cwd()) == before


@pytest.mark.parametrize(
    "room_kb", [700, *(pytest.param(kb, marks=pytest.mark.slow) for kb in (400, 1200, 1800))]
)
def test_a_disk_that_is_really_full_is_named(room_kb: int) -> None:
    """A file system in memory with too little room; 12 frames take about 2 MB."""
    write_images(Path("in"), textured_frames(12))
    place = Path("disk")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room_kb}k", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("only root may mount a file system")
    try:
        done = run_command("run", "in", "--out", "disk/out", *INTRINSICS)
        left = list(place.iterdir())
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "No space left on device" in the_sentence(done.stderr)
    assert left == []


@pytest.mark.parametrize(
    ("option", "value", "answer"),
    [
        ("--masks", "residul", "did you mean 'residual'?"),
        ("--geometry", "paralax", "did you mean 'parallax'?"),
        ("--flow", "diss", "did you mean 'dis'?"),
        ("--refine", "edge", "did you mean 'edges'?"),
        ("--focal", "sharde", "did you mean 'shared'?"),
        ("--device", "cpuu", "did you mean 'cpu'?"),
        ("--executor", "locale", "did you mean 'local'?"),
        ("--set", "optim.grid=8", "did you mean 'optim.grid_px'?"),
    ],
)
def test_an_unknown_value_is_answered_with_the_nearest(
    option: str, value: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), textured_frames(2))
    assert answer in refused(["run", "in", option, value], capsys)


def test_frames_that_are_too_small_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_images(Path("in"), textured_frames(2, width=48, height=40))
    sentence = refused(["run", "in"], capsys)
    assert "the frames have 48x40 px" in sentence and "at least 64 px" in sentence


def test_a_refused_resume_keeps_what_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other options belong to another run; the one that was interrupted can still be resumed."""
    write_images(Path("in"), textured_frames(4))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reconstruct, "densify", interrupt)
        assert cli.main(["run", "in", *INTRINSICS]) == 130
    capsys.readouterr()
    assert Path(".in_recon4d.partial").is_dir()
    sentence = refused(["run", "in", "--resume", "--size", "128", *INTRINSICS], capsys)
    assert "was begun with other options" in sentence
    how = ["--workers", "1"]  # asks for the same by other means
    assert cli.main(["run", "in", "--resume", *how, *INTRINSICS]) == 0
    assert json.loads(Path("in_recon4d/run.json").read_text())["frames"] == 4
    assert not Path(".in_recon4d.partial").exists()
