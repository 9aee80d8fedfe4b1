"""Frames in memory: `recon4d.reconstruct` takes arrays, and refuses what is none in one short sentence."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon4d
from recon4d import cli
from recon4d.io.memory import IN_MEMORY, intrinsics_text, open_array
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_opened
from tests.media import textured_frames, write_images
from tests.synthetic import make_scene

FAST: dict[str, Any] = {"size": 160, "masks": "none", "loop": 0}
FRAMES = textured_frames(6, 96, 72)
CAMERA = (160.0, 162.0, 79.5, 59.5)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Of a camera that moves."""
    return np.asarray(make_scene(6, (160, 120), seed=4, mover=False).video.images)


@pytest.fixture(scope="module")
def from_array(pictures: np.ndarray) -> recon4d.Reconstruction:
    return recon4d.reconstruct(pictures, intrinsics=np.array(CAMERA), **FAST)


def test_an_array_gives_what_its_pictures_give(
    from_array: recon4d.Reconstruction, pictures: np.ndarray, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "in", pictures)
    text = ",".join(str(value) for value in CAMERA)
    from_files = recon4d.reconstruct(folder, intrinsics=text, **FAST)
    for name in ("world_from_cam", "intrinsics", "timestamps_s", "images", "depth", "is_dynamic"):
        np.testing.assert_array_equal(getattr(from_array, name), getattr(from_files, name))
    assert from_array.sources == tuple(str(index) for index in range(6))
    assert np.allclose(from_array.intrinsics[0], np.add(CAMERA, (0, 0, 0.5, 0.5)))
    assert Path(tomllib.loads(from_array.config_toml)["input"]).name == IN_MEMORY.name


def test_wrong_types_are_refused_where_they_are_given() -> None:
    with pytest.raises(recon4d.InputError, match="is of type float64") as raised:
        recon4d.reconstruct(FRAMES / 255, **FAST)
    assert len(str(raised.value)) < 300


def test_nothing_is_left_behind_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(recon4d.InputError, match="has 1 frame; recon4d needs at least 2"):
        recon4d.reconstruct(FRAMES[:1], **FAST)
    assert list(tmp_path.iterdir()) == []


def read(frames: object, folder: Path, timestamps: object = None, **options: Any) -> Any:
    folder.mkdir(exist_ok=True)
    chosen = ReadOptions(**options)
    return read_opened(open_array(frames, timestamps, chosen), chosen, folder)


def test_lists_tensors_and_memory_maps_are_arrays(tmp_path: Path) -> None:
    import torch
    from PIL import Image

    np.save(tmp_path / "frames.npy", FRAMES)
    kinds: dict[str, object] = {
        "list": list(FRAMES),
        "tensor": torch.from_numpy(FRAMES),
        "tensors": [torch.from_numpy(frame) for frame in FRAMES],
        "pictures": [Image.fromarray(frame) for frame in FRAMES],
        "map": np.load(tmp_path / "frames.npy", mmap_mode="r"),
        "flipped": FRAMES[::-1][::-1],
    }
    for name, frames in kinds.items():
        video = read(frames, tmp_path / name, size=96)
        np.testing.assert_array_equal(video.images, FRAMES, err_msg=name)


def test_frames_are_converted_one_by_one(tmp_path: Path) -> None:
    asked: list[int] = []

    class Lazy:
        shape = FRAMES.shape
        dtype = FRAMES.dtype

        def __len__(self) -> int:
            return len(FRAMES)

        def __getitem__(self, index: int) -> np.ndarray:
            asked.append(index)
            return np.asarray(FRAMES[index])

    video = read(Lazy(), tmp_path / "read", size=96, stride=2)
    assert asked == [0, 2, 4]
    assert video.sources == ("0", "2", "4")


def test_times_come_from_time_stamps_or_from_the_rate(tmp_path: Path) -> None:
    assert read(FRAMES, tmp_path / "a").timestamps_s.tolist() == pytest.approx(np.arange(6) / 30)
    assert read(FRAMES, tmp_path / "b", fps=4.0).timestamps_s[-1] == 5 / 4
    times = [0.0, 0.1, 0.5, 0.6, 1.0, 1.1]
    assert read(FRAMES, tmp_path / "c", times).timestamps_s.tolist() == times
    kept = read(FRAMES, tmp_path / "d", np.array(times), fps=2.0)
    assert kept.timestamps_s.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        (FRAMES.astype(np.float32) / 255, "is of type float32; uint8 RGB frames"),
        (FRAMES.astype(np.uint16), "is of type uint16"),
        (FRAMES.transpose(0, 3, 1, 2), "(6, 3, 72, 96); uint8 RGB frames"),
        (FRAMES[0], "this is a single image"),
        (FRAMES[..., 0], "repeat grey frames"),
        (np.concatenate((FRAMES, FRAMES[..., :1]), axis=-1), "frames[..., :3]"),
        (FRAMES[:, :0], "has shape (6, 0, 96, 3)"),
        (FRAMES[:0], "has shape (0, 72, 96, 3)"),
        ([], "the input is an empty list"),
        (5, "the input is int"),
        (None, "the input is NoneType"),
        ((frame for frame in FRAMES), "the input is generator"),
        (["a.png", "b.png"], "entry 0 of the list of frames is str"),
        ([FRAMES[0], FRAMES[1].astype(float)], "frame 1 of the array of frames is of type float64"),
        ([FRAMES[0], FRAMES[1, :64]], "frame 1 has 96x64 px, but frame 0 has 96x72 px"),
        ([FRAMES[0], FRAMES[1, ..., 0]], "frame 1 of the array of frames has shape (72, 96)"),
        ([[1, 2], [3, 4]], "frame 0 of the array of frames has shape (2,)"),
    ],
)
def test_what_is_no_array_of_frames_is_refused_in_one_sentence(
    frames: Any, part: str, tmp_path: Path
) -> None:
    with pytest.raises(recon4d.InputError) as raised:
        read(frames, tmp_path / "read", size=96)
    said = str(raised.value)
    assert part in said
    assert len(said) < 300 and "\n" not in said


@pytest.mark.parametrize(
    ("timestamps", "part"),
    [
        ([0, 1, 2], "timestamps has shape (3,); 6 rising numbers of seconds"),
        ([0, 1, 2, 2, 3, 4], "does not rise from frame 2 to frame 3 (2 s, 2 s)"),
        ([0, 1, 2, np.nan, 4, 5], "has a value that is nan"),
        (list("abcdef"), "cannot be read as numbers"),
    ],
)
def test_times_that_are_no_times_are_refused(timestamps: Any, part: str) -> None:
    with pytest.raises(recon4d.InputError) as raised:
        open_array(FRAMES, timestamps, ReadOptions())
    assert part in str(raised.value) and "\n" not in str(raised.value)


def test_the_times_of_a_file_are_its_own() -> None:
    with pytest.raises(recon4d.ConfigError, match="timestamps are for frames in memory"):
        recon4d.reconstruct("video.mp4", timestamps=[0.0, 1.0])


def test_depth_is_not_in_an_array() -> None:
    with pytest.raises(recon4d.ConfigError, match="has no sensor depth"):
        recon4d.reconstruct(FRAMES, geometry="rgbd")


def test_a_camera_may_be_numbers_or_a_matrix() -> None:
    import torch

    matrix = [[160.0, 0, 79.5], [0, 162, 59.5], [0, 0, 1]]
    for camera in (CAMERA, list(CAMERA), np.array(matrix), torch.tensor(matrix), matrix):
        assert intrinsics_text(camera) == "160.0,162.0,79.5,59.5"


@pytest.mark.parametrize(
    ("camera", "part"),
    [
        (np.tile(CAMERA, (6, 1)), "one camera for each of 6 frames"),
        (np.tile(np.eye(3), (6, 1, 1)), "one camera for each of 6 frames"),
        (np.eye(3) + 0.5, "is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"),
        ((80.0, 47.5, 35.5), "intrinsics has shape (3,)"),
        (80.0, "intrinsics has shape ()"),
        ((80.0, np.inf, 1, 1), "has a value that is inf"),
        ({"fx": 80}, "cannot be read as numbers"),
    ],
)
def test_a_camera_that_is_none_is_refused(camera: Any, part: str) -> None:
    with pytest.raises(recon4d.InputError) as raised:
        recon4d.reconstruct(FRAMES, intrinsics=camera, **FAST)
    assert part in str(raised.value) and "\n" not in str(raised.value)


def test_a_saved_result_of_an_array_says_that_there_is_no_file(
    from_array: recon4d.Reconstruction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    from_array.save(saved)
    assert cli.main(["export", str(saved), "--to", "overlay"]) == 0
    capsys.readouterr()
    words = ["export", str(saved), "--to", "colmap", "--depth-size", "original"]
    for argv in (words, ["run", "--config", str(saved / "config.toml"), "--out", "again"]):
        assert cli.main(argv) == 2
        assert "the frames of this run were an array in memory" in capsys.readouterr().err
    assert not Path("again").exists()
