"""The result folder, and where results may go."""

import dataclasses
import errno
import json
import os
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d.core.arrays import GrowingArray
from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.io.files import check_output, partial_folder, publish
from recon4d.results.folder import read_result, write_result
from recon4d.results.reconstruction import Reconstruction
from recon4d.settings.config import default_output
from tests.media import textured_frames

FULL_DISK = Path("/dev/full")


def small_result(count: int = 3) -> Reconstruction:
    rng = np.random.default_rng(0)
    world_from_cam = np.tile(np.eye(4), (count, 1, 1))
    world_from_cam[:, :3, 3] = rng.normal(size=(count, 3))
    depth = rng.uniform(1, 5, (count, 96, 128)).astype(np.float32)
    depth[:, :10] = 0
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=np.tile([100.0, 101.0, 64.5, 47.25], (count, 1)),
        timestamps_s=1305031248.197746 + np.arange(count) / 30,
        sources=tuple(f"frame {i}.png" for i in range(count)),
        images=textured_frames(count),
        depth=depth,
        confidence=rng.integers(0, 256, (count, 96, 128), dtype=np.uint8),
        is_dynamic=rng.uniform(size=(count, 96, 128)) > 0.8,
        is_metric=True,
        run={"seed": 0, "residual_px": np.float32(0.5), "worst": float("inf"), "kept": (1, 2)},
        config_toml='input = "a.mp4"\n',
    )


def test_a_result_survives_writing_and_reading(tmp_path: Path) -> None:
    wanted = small_result()
    write_result(wanted, tmp_path / "out")
    found = read_result(tmp_path / "out")
    for name in ("depth", "confidence", "is_dynamic", "timestamps_s"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    np.testing.assert_allclose(found.world_from_cam, wanted.world_from_cam, atol=1e-9)
    np.testing.assert_allclose(found.intrinsics, wanted.intrinsics, rtol=1e-9)
    assert (
        np.abs(found.images.astype(float) - wanted.images).mean() < 6
    )  # JPEG keeps half of the colour
    assert found.sources == wanted.sources and found.config_toml == wanted.config_toml
    assert found.is_metric
    assert found.run == {
        "format": 1,
        "seed": 0,
        "residual_px": 0.5,
        "worst": None,
        "kept": [1, 2],
        "scale": "metric",
    }


def test_the_files_are_those_of_format_1(tmp_path: Path) -> None:
    result = small_result()
    write_result(result, tmp_path)
    lines = (tmp_path / "frames.txt").read_text().splitlines()
    assert lines[1] == f"1 {float(result.timestamps_s[1])!r} frame 1.png"
    assert (tmp_path / "intrinsics.txt").read_text().splitlines() == [
        "# 128 96",
        *["100.0 101.0 64.0 46.75"] * 3,
    ]
    poses = (tmp_path / "poses.txt").read_text().splitlines()
    assert len(poses) == 3
    assert [float(line.split()[0]) for line in poses] == result.timestamps_s.tolist()
    depth = np.load(tmp_path / "depth/000002.npy")
    assert depth.dtype == np.float32 and depth.shape == (96, 128)
    mask = cv2.imread(str(tmp_path / "masks/000002.png"), cv2.IMREAD_UNCHANGED)
    assert mask is not None and mask.shape == (96, 128) and set(np.unique(mask)) == {0, 255}
    names = {"run.json", "config.toml", "frames.txt", "poses.txt", "intrinsics.txt"}
    assert {p.name for p in tmp_path.iterdir()} == names | {
        "images",
        "depth",
        "confidence",
        "masks",
    }
    assert {p.name for p in (tmp_path / "images").iterdir()} == {f"{i:06d}.jpg" for i in range(3)}


def test_a_relative_result_says_so(tmp_path: Path) -> None:
    write_result(dataclasses.replace(small_result(), is_metric=False), tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["scale"] == "relative"
    assert not read_result(tmp_path).is_metric


def test_what_is_not_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a result of recon4d"):
        read_result(tmp_path)
    (tmp_path / "run.json").write_text('{"name": "something else"}')
    with pytest.raises(InputError, match="is not a result of recon4d"):
        read_result(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    write_result(small_result(), tmp_path)
    (tmp_path / "run.json").write_text('{"format": 2}')
    with pytest.raises(InputError, match="has result format 2, this version reads 1"):
        read_result(tmp_path)


def remove_pose(folder: Path) -> None:
    lines = (folder / "poses.txt").read_text().splitlines(keepends=True)
    (folder / "poses.txt").write_text("".join(lines[:-1]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_pose, r"poses\.txt has 2 lines for the 3 frames"),
        (lambda f: (f / "depth/000001.npy").unlink(), r"depth/000001\.npy cannot be read"),
        (lambda f: (f / "masks/000001.png").unlink(), r"masks/000001\.png cannot be read"),
        (
            lambda f: np.save(f / "depth/000001.npy", np.zeros((9, 9), np.float32)),
            r"holds float32 \(9, 9\)",
        ),
        (lambda f: np.save(f / "depth/000001.npy", np.zeros((96, 128))), "holds float64"),
        (
            lambda f: (f / "frames.txt").write_text("0 0.0 a\n2 0.1 b\n"),
            r"frames\.txt is not a list",
        ),
        (lambda f: (f / "intrinsics.txt").write_text("1 2 3\n"), "needs lines of 'fx fy cx cy'"),
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, damage: object, message: str) -> None:
    assert callable(damage)
    write_result(small_result(), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        read_result(tmp_path)


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs the device that is always full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "poses.txt").symlink_to(FULL_DISK)
    with pytest.raises(
        InputError, match=r"poses\.txt cannot be written \(No space left on device\)"
    ):
        write_result(small_result(), tmp_path)


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs the device that is always full")
def test_a_full_disk_while_reading_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.npy").symlink_to(FULL_DISK)
    frame = np.zeros((200, 200, 3), np.uint8)
    with (
        pytest.raises(InputError, match=r"images\.npy cannot be written \(No space left"),
        GrowingArray(tmp_path / "images.npy") as array,
    ):
        array.append(frame)
        array.finish()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_errors_that_the_user_can_act_on_become_sentences(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(InputError, match=r"a\.txt cannot be written .*; .*--out"),
        writing(tmp_path / "a.txt"),
    ):
        raise OSError(number, os.strerror(number))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), writing(tmp_path):
        raise IsADirectoryError(errno.EISDIR, "is a directory")


def test_a_growing_array_is_an_ordinary_npy_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 255, (123, 7, 5, 3), dtype=np.uint8)
    with GrowingArray(tmp_path / "a.npy") as array:
        for frame in wanted:
            array.append(frame[::-1][::-1])
        found = array.finish()
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), wanted)
    assert isinstance(found, np.memmap) and not found.flags.writeable


def test_a_new_folder_is_a_fine_place_and_stays_untouched(tmp_path: Path) -> None:
    check_output(tmp_path / "new", overwrite=False)
    check_output(tmp_path / "a/b/new", overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_a_result_is_never_overwritten(tmp_path: Path, overwrite: bool) -> None:
    for path in (tmp_path / "folder", tmp_path / "file"):
        if path.name == "folder":
            path.mkdir()
            (path / "thesis.txt").write_text("four years")
        else:
            path.write_text("four years")
        with pytest.raises(InputError, match="is not a result of recon4d; it is never overwritten"):
            check_output(path, overwrite)
    assert (tmp_path / "folder/thesis.txt").read_text() == "four years"


def test_a_result_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_result(small_result(2), tmp_path / "out")
    with pytest.raises(InputError, match="already holds a result; give --overwrite"):
        check_output(tmp_path / "out", overwrite=False)
    check_output(tmp_path / "out", overwrite=True)


def test_a_parent_that_is_a_file_or_read_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file, a folder was needed"):
        check_output(tmp_path / "file/out", overwrite=False)
    with pytest.raises(InputError, match="is not writable"):
        check_output(Path("/proc/out"), overwrite=False)  # nobody can make a folder there


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_parent_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(InputError, match="is not writable"):
        check_output(tmp_path / "out", overwrite=False)


def test_places_follow_from_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.clip.mp4").write_text("")
    (tmp_path / "rgb").mkdir()
    assert default_output(Path("my.clip.mp4")) == Path("my.clip_recon4d")
    assert default_output(Path("rgb/")) == Path("rgb_recon4d")
    assert default_output(Path(".")) == Path(f"{tmp_path.name}_recon4d")
    assert partial_folder(Path("out/")) == tmp_path / ".out.partial"


def test_a_finished_result_moves_to_its_place(tmp_path: Path) -> None:
    write_result(small_result(2), tmp_path / ".out.partial")
    publish(tmp_path / ".out.partial", tmp_path / "out", overwrite=False)
    assert read_result(tmp_path / "out").depth.shape[0] == 2


def test_saving_twice_tells_python_what_to_do(tmp_path: Path) -> None:
    result = small_result(2)
    result.save(tmp_path / "out")
    with pytest.raises(InputError, match="say overwrite=True to replace it, or choose another f"):
        result.save(tmp_path / "out")
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(InputError, match="move it away, or choose another folder"):
        result.save(tmp_path / "out", overwrite=True)


def test_an_old_result_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_result(small_result(3), tmp_path / "out")
    write_result(small_result(2), tmp_path / "new")
    with pytest.raises(InputError, match="give --overwrite"):
        publish(tmp_path / "new", tmp_path / "out", overwrite=False)
    publish(tmp_path / "new", tmp_path / "out", overwrite=True)
    assert len(list((tmp_path / "out/depth").iterdir())) == 2
    old = {path.name for path in tmp_path.iterdir()} - {
        "out"
    }  # stays aside, for the caller to remove
    assert old in ({"new"}, {"replaced"})
    assert len(list((tmp_path / old.pop() / "depth").iterdir())) == 3


def test_the_old_result_comes_back_when_the_new_one_cannot_be_moved(tmp_path: Path) -> None:
    write_result(small_result(3), tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "never written", tmp_path / "out", overwrite=True)
    assert read_result(tmp_path / "out").depth.shape[0] == 3
