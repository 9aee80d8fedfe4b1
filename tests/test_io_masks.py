"""The user's own motion masks."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.io.masks import read_mask_folder
from recon4d.io.options import ReadOptions
from recon4d.io.read import read_video
from tests.media import textured_frames, write_images, write_video


def video_of(sources: tuple[str, ...], indices: tuple[int, ...] = ()) -> Video:
    count = len(sources)
    return Video(
        images=np.zeros((count, 96, 128, 3), np.uint8),
        timestamps_s=np.arange(count) / 30,
        sources=sources,
        source_size=(256, 192),
        source_indices=indices,
    )


def levels(columns: int, value: int = 255) -> np.ndarray:
    """A mask at working size whose first columns move."""
    mask = np.zeros((96, 128), np.uint8)
    mask[:, :columns] = value
    return mask


def write_masks(folder: Path, names: list[str]) -> Path:
    """Mask number i has 10 (i + 1) moving columns."""
    return write_images(folder, np.stack([levels(10 * (i + 1)) for i in range(len(names))]), names)


def columns_of(is_moving: np.ndarray) -> list[int]:
    return [int(mask[0].sum()) for mask in is_moving]


@pytest.mark.parametrize(
    ("sources", "indices", "names", "expected"),
    [
        (("a.jpg", "b.jpg"), (), ["a.png", "b.png", "c.png"], [10, 20]),
        (("b.jpg", "a.jpg"), (), ["a.png", "b.png"], [20, 10]),
        (("0.066667.jpg", "0.1.jpg"), (), ["0.1.png", "0.066667.png"], [20, 10]),
        (("2", "4"), (2, 4), ["000000.png", "000002.png", "000004.png"], [20, 30]),  # a video
        (("1.jpg", "2.jpg"), (0, 1), ["000000.png", "000001.png", "000002.png"], [20, 30]),
        (("a.jpg", "b.jpg"), (1, 3), ["0.png", "1.png", "2.png", "3.png"], [20, 40]),
        (("a.jpg", "b.jpg"), (), ["00000.png", "00001.png"], [10, 20]),
        (("a.jpg", "b.jpg"), (), ["a.jpg.png", "b.jpg.png"], [10, 20]),  # COLMAP
        (("a.jpg", "a.png"), (), ["a.png.png", "a.jpg.png"], [20, 10]),
        (("b.jpg", "a.jpg"), (), ["a_mask.png", "b_mask.png"], [20, 10]),  # SAM tools
        (("b.jpg", "a.jpg"), (), ["mask_a.png", "mask_b.png"], [20, 10]),
        (("a.jpg", "b.jpg"), (), ["a.png", "a_mask.png", "b.png", "b_mask.png"], [20, 40]),
        (("0.5.jpg", "0.6.jpg"), (), ["0.5_mask.png", "0.6_mask.png"], [10, 20]),
        (("frame_00001.png", "frame_00002.png"), (), ["1.png", "2.png"], [10, 20]),
        (("frame_00001.png", "frame_00002.png"), (), ["00000.png", "00001.png"], [10, 20]),
        (("0", "1"), (), ["frame_00001_mask.png", "frame_00002_mask.png"], [10, 20]),  # from 1
        (("1", "2"), (1, 2), ["00001.png", "00002.png", "00003.png"], [20, 30]),
        (("1", "2"), (1, 2), ["frame_00000.png", "frame_00001.png", "frame_00002.png"], [20, 30]),
    ],
)
def test_masks_are_matched_by_stem_else_number_else_index(
    tmp_path: Path,
    sources: tuple[str, ...],
    indices: tuple[int, ...],
    names: list[str],
    expected: list[int],
) -> None:
    folder = write_masks(tmp_path / "masks", names)
    assert columns_of(read_mask_folder(folder, video_of(sources, indices))) == expected


def test_masks_of_a_read_video_with_a_stride_are_matched(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", textured_frames(6))
    video = read_video(path, ReadOptions(stride=2, start=0.04), tmp_path)
    folder = write_masks(tmp_path / "masks", [f"{i:06d}.png" for i in range(6)])
    assert columns_of(read_mask_folder(folder, video)) == [20, 40, 60]


@pytest.mark.parametrize(
    "encode",
    [
        lambda mask: mask,
        lambda mask: mask // 255,
        lambda mask: mask.astype(np.uint16) // 255,
        lambda mask: np.stack((mask // 2, mask * 0, mask * 0), axis=-1),
        lambda mask: np.stack((mask, mask, mask, mask * 0 + 255), axis=-1),
    ],
    ids=["255", "1", "16 bit", "colour", "opacity"],
)
def test_any_non_zero_pixel_is_moving(tmp_path: Path, encode: object) -> None:
    assert callable(encode)
    folder = write_images(tmp_path / "m", np.stack([encode(levels(40))] * 2), ["a.png", "b.png"])
    is_moving = read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))
    np.testing.assert_array_equal(is_moving, np.stack([levels(40) > 0] * 2))


def test_jpeg_noise_around_a_mask_is_not_motion(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "m", np.stack([levels(37)] * 2), ["a.jpg", "b.jpg"])
    is_moving = read_mask_folder(folder, video_of(("a.png", "b.png")))
    np.testing.assert_array_equal(is_moving, np.stack([levels(37) > 0] * 2))


def test_masks_of_the_input_size_are_resized(tmp_path: Path) -> None:
    large = np.zeros((192, 256), np.uint8)
    large[:, :80] = 255
    folder = write_images(tmp_path / "m", np.stack([large] * 2), ["a.png", "b.png"])
    assert columns_of(read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))) == [40, 40]


def test_masks_of_the_input_size_are_undistorted_with_the_frames(tmp_path: Path) -> None:
    yy, xx = np.mgrid[:240, :320]
    bent = (xx < 40 + 0.002 * (yy - 120.0) ** 2).astype(np.uint8) * 255
    frames = np.repeat(bent[None, ..., None], 3, axis=-1).repeat(2, axis=0)
    write_images(tmp_path / "in", frames)
    (tmp_path / "camera.txt").write_text("260 260 160 120 -0.25 0.05 0 0")
    options = ReadOptions(intrinsics=str(tmp_path / "camera.txt"))
    video = read_video(tmp_path / "in", options, tmp_path)
    folder = write_images(tmp_path / "masks", frames[..., 0])
    is_moving = read_mask_folder(folder, video)
    agree = is_moving == (video.images[..., 0] > 127)
    assert (
        agree.mean() > 0.998
    )  # nearest against cubic interpolation along the border of 240 pixels
    assert (is_moving[0] == (bent > 0)).mean() < 0.985


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "masks", ["a.png", "c.png"])
    with pytest.raises(InputError, match=r"no mask for frame 1 \(source b.jpg\).* add b\.png"):
        read_mask_folder(folder, video_of(("a.jpg", "b.jpg", "c.jpg")))


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "masks", ["a.png", "b.png"])
    cv2.imwrite(str(folder / "b.png"), np.zeros((100, 128), np.uint8))
    with pytest.raises(InputError, match=r"b\.png of frame 1 has 128x100 px.*256x192.*128x96"):
        read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))


def test_two_masks_for_one_frame_are_refused(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "masks", ["a.png", "a.bmp", "b.png"])
    with pytest.raises(InputError, match=r"a\.bmp and a\.png for one frame"):
        read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))


def test_masks_that_cover_everything_are_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "m", np.stack([levels(128)] * 2), ["a.png", "b.png"])
    with pytest.raises(InputError, match="100% of the pixels would be moving"):
        read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))
    cv2.imwrite(str(folder / "b.png"), levels(80))
    assert read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))[0].all()


@pytest.mark.parametrize("make", [False, True])
def test_a_mask_folder_that_is_missing_or_empty_is_refused(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "masks"
    if make:
        folder.mkdir()
    with pytest.raises(InputError, match=r"masks (holds no images|is not a folder)"):
        read_mask_folder(folder, video_of(("a.jpg", "b.jpg")))
