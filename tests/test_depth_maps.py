"""Reading depth of the user's own: every format, names, sizes, lenses, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.io.camera import Camera, camera_to_array
from recon4d.io.depth_maps import DepthMaps, depth_maps

SIZE = (128, 96)
"""Of the input and of the video."""
VALUES = (1 + np.arange(128) / 128 + np.arange(96)[:, None] / 96).astype(np.float32)


def video_of(count: int, **changes: object) -> Video:
    video = Video(
        images=np.zeros((count, 96, 128, 3), np.uint8),
        timestamps_s=np.arange(count) / 30,
        sources=tuple(str(index) for index in range(count)),
        source_size=SIZE,
    )
    return replace(video, **changes)  # type: ignore[arg-type]


def write_exr(path: Path, values: np.ndarray) -> None:
    height, width = values.shape
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("exr", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "grayf32le"
        frame = av.VideoFrame.from_ndarray(values, format="grayf32le")
        out.mux([*stream.encode(frame), *stream.encode()])


def write_png(path: Path, values: np.ndarray) -> None:
    cv2.imwrite(str(path), np.round(1000 * values).astype(np.uint16))


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "npy": np.save,
    "npz": lambda path, values: np.savez(path, depth=values),
    "exr": write_exr,
    "png": write_png,
}


def write(folder: Path, suffix: str = "npy", values: np.ndarray = VALUES, count: int = 3) -> Path:
    """Frame i has i times the values more."""
    folder.mkdir()
    for index in range(count):
        WRITERS[suffix](folder / f"{index:04d}.{suffix}", (1 + index) * values)
    return folder


def read(maps: DepthMaps, video: Video) -> list[np.ndarray]:
    return [values for values, _ in maps.at(video, list(range(video.num_frames)))]


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_is_read(suffix: str, tmp_path: Path) -> None:
    maps = depth_maps(
        write(tmp_path / "d", suffix), "depth", "metric", 1000.0 if suffix == "png" else None
    )
    found = read(maps, video_of(3))
    for index, values in enumerate(found):
        np.testing.assert_allclose(values, (1 + index) * VALUES, atol=1e-3)


def test_a_stated_unit_holds_for_arrays_too(tmp_path: Path) -> None:
    maps = depth_maps(write(tmp_path / "d", "npy", 1000 * VALUES), "depth", "metric", 1000.0)
    np.testing.assert_allclose(read(maps, video_of(3))[0], VALUES, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("shape", [(3, 96, 128), (3, 96, 128, 1), (3, 1, 96, 128)])
def test_one_file_of_all_frames(suffix: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    whole = np.stack([VALUES, 2 * VALUES, 3 * VALUES]).reshape(shape)
    WRITERS[suffix](tmp_path / f"all.{suffix}", whole)
    maps = depth_maps(tmp_path / f"all.{suffix}")
    maps.check(video_of(3), 3)
    some = video_of(2, source_indices=(0, 2), sources=("0", "2"))
    np.testing.assert_allclose(np.stack(read(maps, some)), [VALUES, 3 * VALUES])


@pytest.mark.parametrize(
    ("name", "kind", "scale"),
    [
        ("depth", "depth", "relative"),
        ("depth_map", "depth", "relative"),
        ("Metric_Depth", "depth", "metric"),
        ("disparity", "disparity", "affine"),
        ("inverse_depth", "disparity", "affine"),
        ("something", "depth", "relative"),
    ],
)
def test_the_name_of_an_array_says_what_it_is(
    name: str, kind: str, scale: str, tmp_path: Path
) -> None:
    for index in range(2):
        sure = np.where(VALUES > 2, 4.0, 2.0)
        np.savez(tmp_path / f"{index}.npz", conf=sure, **{name: VALUES})  # type: ignore[arg-type]
    maps = depth_maps(tmp_path)
    assert (maps.kind, maps.scale) == (kind, scale)
    (notice,) = maps.check(video_of(2), 2)
    assert f"'{name}'" in notice.message and "'conf'" in notice.message
    _, found = next(maps.at(video_of(2), [0]))
    assert found is not None
    assert found.max() / found.min() == 2


def test_what_is_said_wins_over_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", depth=VALUES, disparity=2 * VALUES)
    assert depth_maps(tmp_path).names.values == "depth"
    told = depth_maps(tmp_path, "disparity", "relative")
    assert (told.names.values, told.scale) == ("disparity", "relative")


def test_unknown_is_nan_infinite_or_0_and_never_mixed(tmp_path: Path) -> None:
    values = np.repeat(np.repeat(VALUES, 2, 0), 2, 1)
    values[:20, :20], values[20:40, :20], values[40:60, :20] = np.nan, 0, np.inf
    maps = depth_maps(write(tmp_path / "d", values=values))
    found = read(maps, video_of(3))[0]
    assert (found[:29, :9] == 0).all()
    np.testing.assert_allclose(found[31:, 11:], VALUES[31:, 11:], rtol=0.01)
    assert found[found > 0].min() >= 1


@pytest.mark.parametrize("factor", [0.5, 3])
def test_any_resolution_is_brought_to_the_frames(factor: float, tmp_path: Path) -> None:
    values = cv2.resize(VALUES, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found = read(depth_maps(write(tmp_path / "d", values=values)), video_of(3))[0]
    np.testing.assert_allclose(found, VALUES, atol=0.02)


def test_the_lens_is_undone_as_of_the_frames(tmp_path: Path) -> None:
    """Of a camera with radial distortion the middle stays where it is, and corners do not."""
    camera = Camera(100.0, 100.0, 64.0, 48.0, (-0.3, 0.0, 0.0, 0.0))
    video = video_of(3, lens=camera_to_array(camera))
    found = read(depth_maps(write(tmp_path / "d")), video)[0]
    assert abs(found[48, 64] - VALUES[48, 64]) < 0.03
    assert np.abs(found - VALUES)[5, 5] > 0.02


def test_numbered_from_one_is_said(tmp_path: Path) -> None:
    for index in range(3):
        np.save(tmp_path / f"depth_{index + 1:03d}.npy", (1 + index) * VALUES)
    maps = depth_maps(tmp_path)
    (notice,) = maps.check(video_of(3), 3)
    assert "numbered from 1: depth_001.npy" in notice.message
    np.testing.assert_allclose(read(maps, video_of(3))[2], 3 * VALUES)


def refused(place: Path, sentence: str, *, frames: int = 3, scale: str = "auto") -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        depth_maps(place, "auto", scale).check(video_of(frames), frames)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_frame_without_a_map_is_refused(tmp_path: Path) -> None:
    refused(write(tmp_path / "d"), r"has no depth for frame 3 \(source 3\).* add 3.npy", frames=4)


@pytest.mark.parametrize("frames", [2, 4])
def test_another_number_of_frames_in_one_file_is_refused(frames: int, tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", np.stack([VALUES] * 3))
    refused(tmp_path / "all.npy", f"of 3 frames, and the input has {frames}", frames=frames)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    square = VALUES[:, :96]
    refused(write(tmp_path / "d", values=square), "has 96x96 px; the shape of the input, 128x96")


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_maps_that_know_nothing_are_refused(value: float, tmp_path: Path) -> None:
    refused(write(tmp_path / "d", values=np.full_like(VALUES, value)), "knows nothing")


def test_negative_depth_is_refused_unless_an_offset_is_unknown(tmp_path: Path) -> None:
    place = write(tmp_path / "d", values=VALUES - 2)
    refused(place, "has negative values.*add --depth-scale affine")
    assert depth_maps(place, "depth", "affine").check(video_of(3), 3)


@pytest.mark.parametrize("suffix", ["npy", "npz", "exr", "png"])
def test_text_under_another_name_is_refused(suffix: str, tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.{suffix}").write_text("1 2 3\n" * 100)
    refused(tmp_path, "was needed")


def test_a_folder_without_depth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text("1 2 3")
    refused(tmp_path, r"holds \.txt; one file of depth per frame was needed")
    refused(tmp_path / "none", "does not exist")
    refused(tmp_path / "0.txt", "is no file of depth")


@pytest.mark.parametrize(
    "values", [np.array([["a"]]), np.zeros((96, 128), complex), np.zeros(5), np.zeros((2, 3, 4, 5))]
)
def test_what_is_no_map_is_refused(values: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", values)
    refused(tmp_path, "(was|were) needed")


def test_an_npz_file_of_several_unknown_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", a=VALUES, b=VALUES)
    refused(tmp_path, "has the arrays: a, b; one of .*depth_map.* was needed")


def test_a_file_that_is_not_as_the_others_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path / "d", "npz")
    np.savez(place / "0001.npz", other=VALUES)
    refused(place, "0001.npz has no array 'depth', which the other files have")


def test_eight_bits_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((96, 128), 7, np.uint8))
    is_picture = "1 channels of uint8: a picture of depth for the eye, which is not depth; "
    refused(tmp_path, is_picture + "depth needs one channel of 16 bit.*npy, npz or EXR")
    cv2.imwrite(str(tmp_path / "0.png"), np.full((96, 128, 3), 7, np.uint16))
    refused(tmp_path, "3 channels of uint16; depth needs one channel of 16 bit.*convert it")
