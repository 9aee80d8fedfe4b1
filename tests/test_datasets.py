"""Readers of data sets: mini sequences in every official layout, and what is said where something is missing."""

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon4d.core.errors import ConfigError, InputError
from recon4d.masks.train.datasets import (
    READERS,
    LabelledVideo,
    read_dataset,
    read_foreground,
    read_labels,
    read_names,
)

HEIGHT, WIDTH = 24, 32
COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
"""DAVIS's palette begins so."""


def labels_of(*boxes: tuple[int, int]) -> np.ndarray:
    """Labels with object k + 1 in columns (start, stop) of the middle rows."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, (start, stop) in enumerate(boxes, start=1):
        labels[8:16, start:stop] = label
    return labels


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_frames(folder: Path, *names: str) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        write(folder / name, rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_palette(
    path: Path,
    labels: np.ndarray,
    colours: tuple[tuple[int, int, int], ...] = COLOURS,
    depth: int = 8,
) -> None:
    """Write a palette PNG with `depth` bits per pixel and opacities, as the PNG specification has it."""
    bits = np.unpackbits(labels.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(len(labels), -1), axis=-1)
    size = struct.pack(">2I5B", labels.shape[1], labels.shape[0], depth, 3, 0, 0, 0)
    chunks = {
        b"IHDR": size,
        b"PLTE": bytes(level for colour in colours for level in colour),
        b"tRNS": bytes(range(0, 4 * len(colours), 4)),
        b"IDAT": zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)),
        b"IEND": b"",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks.items()
        )
    )


def only(name: str, root: Path) -> LabelledVideo:
    (video,) = read_dataset(name, root).videos
    return video


def the_mask(video: LabelledVideo, frame: int) -> np.ndarray:
    mask = video.mask(frame)
    assert mask is not None and mask.dtype == bool
    return mask


@pytest.mark.parametrize("depth", (1, 2, 4, 8))
def test_of_a_palette_png_the_index_is_read_and_not_the_colour(depth: int, tmp_path: Path) -> None:
    labels = labels_of((2, 9), (12, 20), (25, 30)) & (2**depth - 1)
    black_object = ((255, 255, 255), (0, 0, 0), (1, 1, 1), (255, 255, 255))[: 2**depth]
    write_palette(tmp_path / "a.png", labels, black_object, depth)
    assert np.array_equal(read_labels(tmp_path / "a.png"), labels)
    assert np.array_equal(read_foreground(tmp_path / "a.png"), labels > 0)


def test_grey_opacity_and_colour_are_labels_too(tmp_path: Path) -> None:
    labels = labels_of((2, 9), (12, 20))
    write(tmp_path / "grey.png", labels * 100)
    assert np.array_equal(read_labels(tmp_path / "grey.png"), labels * 100)
    bgra = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    bgra[..., 3] = 255
    bgra[labels == 2] = (3, 2, 1, 255)
    write(tmp_path / "bgra.png", bgra)
    assert np.array_equal(np.unique(read_labels(tmp_path / "bgra.png")), [0, 0x010203])
    assert np.array_equal(read_foreground(tmp_path / "bgra.png"), labels == 2)


def test_in_a_lossy_mask_only_the_brighter_half_moves(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", (labels_of((8, 24)) > 0) * np.uint8(255))
    wrong = read_foreground(tmp_path / "a.jpg") != (labels_of((8, 24)) > 0)
    assert wrong.mean() < 0.01  # the blocks of JPEG end at multiples of 8, as the object does


def test_a_palette_png_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_palette(tmp_path / "a.png", labels_of((2, 9)))
    data = (tmp_path / "a.png").read_bytes()
    for length in (30, len(data) // 2, len(data) - 6):
        (tmp_path / "a.png").write_bytes(data[:length])
        with pytest.raises(InputError, match=r"a\.png is not a complete palette PNG"):
            read_labels(tmp_path / "a.png")


def make_davis(root: Path, year: int, *names: str) -> None:
    for name in names:
        write_frames(root / "JPEGImages/480p" / name, "00000.jpg", "00001.jpg")
        for index in (0, 1):
            labels = labels_of((2 + index, 9), (12, 20 + index))
            path = root / f"Annotations/480p/{name}/{index:05d}.png"
            if year == 2017:
                write_palette(path, labels)
            else:
                write(path, (labels > 0) * np.uint8(255))


@pytest.mark.parametrize("year", (2016, 2017))
def test_davis_merges_all_objects(year: int, tmp_path: Path) -> None:
    make_davis(tmp_path, year, "bear", "camel")
    write_text(tmp_path / f"ImageSets/{year}/val.txt", "camel\n")
    dataset = read_dataset(f"davis{year % 100}", tmp_path)
    (video,) = dataset.videos
    assert video.name == "camel" and not dataset.notes
    assert [path.name for path in video.frames] == ["00000.jpg", "00001.jpg"]
    assert np.array_equal(the_mask(video, 1), labels_of((3, 9), (12, 21)) > 0)


def test_the_list_of_the_davis_2016_archive_has_paths(tmp_path: Path) -> None:
    make_davis(tmp_path, 2016, "bear", "camel")
    lines = [
        f"/JPEGImages/480p/{name}/{i:05d}.jpg /Annotations/480p/{name}/{i:05d}.png\n"
        for name in ("camel", "bear")
        for i in (0, 1)
    ]
    write_text(tmp_path / "ImageSets/480p/val.txt", "".join(lines))
    assert [v.name for v in read_dataset("davis16", tmp_path).videos] == ["camel", "bear"]


def test_davis_all_is_training_and_validation(tmp_path: Path) -> None:
    make_davis(tmp_path, 2017, "bear", "camel")
    write_text(tmp_path / "ImageSets/2017/train.txt", "bear\n")
    write_text(tmp_path / "ImageSets/2017/val.txt", "camel\n")
    assert [v.name for v in read_dataset("davis-all", tmp_path).videos] == ["bear", "camel"]
    assert [v.name for v in read_dataset("davis17-train", tmp_path).videos] == ["bear"]


def test_davis_without_lists_uses_the_folder_and_says_so_but_not_for_training(
    tmp_path: Path,
) -> None:
    make_davis(tmp_path, 2016, "bear", "camel")
    dataset = read_dataset("davis16", tmp_path)
    assert [video.name for video in dataset.videos] == ["bear", "camel"]
    (note,) = dataset.notes
    assert "ImageSets/2016/val.txt is missing" in note and "not the 20" in note
    assert not read_dataset("davis16", tmp_path, ["bear"]).notes
    with pytest.raises(InputError, match=r"ImageSets/2016/train\.txt is missing"):
        read_dataset("davis16-train", tmp_path)


@pytest.mark.parametrize(
    "missing",
    (
        "JPEGImages/480p",
        "Annotations/480p",
        "JPEGImages/480p/camel",
        "Annotations/480p/camel/00001.png",
    ),
)
def test_the_first_missing_path_of_davis_is_named(missing: str, tmp_path: Path) -> None:
    make_davis(tmp_path, 2016, "bear", "camel")
    write_text(tmp_path / "ImageSets/2016/val.txt", "bear\ncamel\n")
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError) as caught:
        read_dataset("davis16", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / missing} is missing; DAVIS needs")


def make_segtrack(root: Path) -> None:
    write_text(root / "ImageSets/all.txt", "*bmx\n*birdfall\n")
    write_text(root / "ImageSets/bmx.txt", "bmx/\nbmx_1\nbmx_2\n")
    write_text(root / "ImageSets/birdfall.txt", "birdfall\nbirdfall_00018\n")
    write_frames(root / "JPEGImages/bmx", "bmx_1.png", "bmx_2.png", "bmx_3.png")
    write_frames(root / "JPEGImages/birdfall", "birdfall_00018.bmp")
    write_text(root / "JPEGImages/bmx/bmx.mat", "no image")
    for stem in ("bmx_1", "bmx_2"):
        for number, box in (("1", (2, 9)), ("2", (12, 20))):
            mask = (labels_of(box) > 0) * np.uint8(255)
            write(root / f"GroundTruth/bmx/{number}/{stem}.bmp", np.stack([mask] * 3, -1))
    write(root / "GroundTruth/birdfall/birdfall_00018.png", labels_of((5, 7)))


def test_segtrack_merges_its_object_folders_and_takes_any_suffix(tmp_path: Path) -> None:
    make_segtrack(tmp_path)
    bmx, bird = read_dataset("segtrackv2", tmp_path).videos
    assert (bmx.name, bird.name) == ("bmx", "birdfall")
    assert [path.name for path in bmx.frames] == ["bmx_1.png", "bmx_2.png"]
    assert np.array_equal(the_mask(bmx, 0), labels_of((2, 9), (12, 20)) > 0)
    assert np.array_equal(the_mask(bird, 0), labels_of((5, 7)) > 0)


@pytest.mark.parametrize("missing", ("GroundTruth/bmx/2/bmx_2.bmp", "JPEGImages/bmx/bmx_2.png"))
def test_a_missing_file_of_segtrack_is_named(missing: str, tmp_path: Path) -> None:
    make_segtrack(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=rf"{missing} is missing; SegTrackV2 needs"):
        read_dataset("segtrackv2", tmp_path)


WHITE, RED, BLUE = (255, 255, 255), (0, 0, 255), (255, 0, 0)
"""BGR, as OpenCV writes them."""


def coloured(labels: np.ndarray, *colours: tuple[int, int, int]) -> np.ndarray:
    palette: np.ndarray = np.array(colours, np.uint8)
    return np.asarray(palette[labels])


def make_fbms(root: Path, part: str = "Testset") -> Path:
    """A sequence with two masks in colour, beside masks that must be ignored."""
    folder = root / part / "bear01"
    write_frames(folder, *(f"bear01_{i:04d}.jpg" for i in range(1, 6)))
    for i in (1, 5):
        labels = labels_of((2, 9), (12, 20))
        truth = folder / f"GroundTruth/bear01_{i:04d}_gt"
        write(truth.with_suffix(".ppm"), coloured(labels, WHITE, RED, BLUE))
        write(truth.with_suffix(".pgm"), (labels == 1) * np.uint8(200))
        write(folder / f"GroundTruth/bear01_{i:04d}PROB_gt.ppm", coloured(labels, RED, RED, RED))
    return folder


@pytest.mark.parametrize("name", ("fbms59", "fbms59-train"))
def test_fbms_reads_regions_in_colour_on_its_annotated_frames(name: str, tmp_path: Path) -> None:
    make_fbms(tmp_path, "Trainingset" if name.endswith("train") else "Testset")
    video = only(name, tmp_path)
    assert len(video.frames) == 5 and video.annotated == (0, 4)
    assert video.mask(1) is None
    assert np.array_equal(the_mask(video, 4), labels_of((2, 9), (12, 20)) > 0)


def test_the_definition_of_fbms_says_what_the_background_is(tmp_path: Path) -> None:
    folder = make_fbms(tmp_path)
    for path in folder.glob("GroundTruth/*_gt.ppm"):
        labels = labels_of((2, 9), (12, 20))
        labels[0], labels[-1], labels[:, 0], labels[:, -1] = 1, 1, 1, 1  # red all along the border
        write(path, coloured(labels, WHITE, RED, BLUE))
    assert not the_mask(only("fbms59", tmp_path), 0)[0, 0]
    scales = "Total number of regions:\n3\n\nScale of region 0:\n{}\nScale of region 1:\n16711680\n"
    definition = folder / "GroundTruth/bear01Def.dat"
    definition.write_text(scales.format(0xFFFFFF))
    mask = the_mask(only("fbms59", tmp_path), 0)
    assert mask[0, 0] and mask[10, 5] and not mask[2, 2]
    definition.write_text(scales.format(77))  # a value that no mask has
    assert not the_mask(only("fbms59", tmp_path), 0)[0, 0]


@pytest.mark.parametrize("kind", ("{}.pgm", "{}_gt.png"))
def test_fbms_reads_grey_masks_where_there_are_none_in_colour(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "Testset/cars1"
    write_frames(folder, "cars1_01.jpg", "cars1_02.jpg")
    truth = folder / "GroundTruth" / kind.format("cars1_02")
    write(truth, labels_of((2, 9), (12, 20)) * np.uint8(120))
    video = only("fbms59", tmp_path)
    assert video.annotated == (1,)
    assert np.array_equal(the_mask(video, 1), labels_of((2, 9), (12, 20)) > 0)


def test_a_mask_of_fbms_with_a_name_of_its_own_is_found_by_the_definition(tmp_path: Path) -> None:
    folder = make_fbms(tmp_path)
    moved = folder / "GroundTruth/other_gt.ppm"
    (folder / "GroundTruth/bear01_0005_gt.ppm").rename(moved)
    with pytest.raises(InputError, match=r"other_gt\.ppm belongs to no frame"):
        read_dataset("fbms59", tmp_path)
    entry = "Frame number:\n3\nFile name:\nother_gt.ppm\nInput file name:\nx.ppm\n"
    (folder / "GroundTruth/bear01Def.dat").write_text(entry)
    assert only("fbms59", tmp_path).annotated == (0, 3)


def make_youtube_vos(root: Path) -> None:
    for name in ("aaa", "bbb"):
        write_frames(root / f"train/JPEGImages/{name}", "00000.jpg", "00005.jpg")
        write_palette(root / f"train/Annotations/{name}/00000.png", labels_of((2, 9)))
        write_palette(root / f"train/Annotations/{name}/00005.png", labels_of((3, 9), (12, 20)))
    write_text(root / "train/meta.json", json.dumps({"videos": {"bbb": {}, "aaa": {}}}))


def test_youtube_vos_reads_the_videos_of_a_list(tmp_path: Path) -> None:
    make_youtube_vos(tmp_path)
    assert [v.name for v in read_dataset("youtube-vos", tmp_path).videos] == ["aaa", "bbb"]
    write_text(tmp_path / "moving.txt", "# what moves\nbbb\n\nbbb\n")
    names = read_names(tmp_path / "moving.txt")
    (video,) = read_dataset("youtube-vos", tmp_path, names).videos
    assert video.name == "bbb" and video.annotated == (0, 1)
    assert np.array_equal(the_mask(video, 1), labels_of((3, 9), (12, 20)) > 0)


def test_youtube_vos_has_masks_on_every_fifth_of_all_frames(tmp_path: Path) -> None:
    make_youtube_vos(tmp_path)
    every = tmp_path / "train_all_frames/JPEGImages/aaa"
    write_frames(every, *(f"{i:05d}.jpg" for i in range(8)))
    video = read_dataset("youtube-vos", tmp_path, ["aaa"]).videos[0]
    assert len(video.frames) == 8 and video.annotated == (0, 5)


def test_youtube_vos_without_videos_in_its_list_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "train/meta.json", "[]")
    with pytest.raises(InputError, match=r"meta\.json has no object 'videos'"):
        read_dataset("youtube-vos", tmp_path)
    write_text(tmp_path / "empty.txt", "\n")
    with pytest.raises(InputError, match="lists no videos"):
        read_names(tmp_path / "empty.txt")


def make_movi(root: Path, instances: list[dict[str, object]]) -> None:
    for i in range(2):
        rgba = np.full((HEIGHT, WIDTH, 4), 90, np.uint8)
        write(root / f"scene/rgba_{i:05d}.png", rgba)
        write_palette(root / f"scene/segmentation_{i:05d}.png", labels_of((2, 9), (12, 20)))
    write_text(root / "scene/metadata.json", json.dumps({"instances": instances}))


def test_of_movi_the_dynamic_instances_move(tmp_path: Path) -> None:
    make_movi(tmp_path, [{"is_dynamic": False, "mass": 1}, {"is_dynamic": True}])
    video = only("movi", tmp_path)
    assert len(video.frames) == 2 and video.image(0).shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(the_mask(video, 1), labels_of((2, 9), (12, 20)) == 2)
    make_movi(tmp_path, [{"is_dynamic": False}, {"is_dynamic": False}])
    assert not the_mask(only("movi", tmp_path), 0).any()


def test_movi_that_does_not_say_what_moves_is_refused(tmp_path: Path) -> None:
    make_movi(tmp_path, [{"is_dynamic": True}, {"mass": 1}])
    with pytest.raises(InputError, match="does not say of every instance whether it is_dynamic"):
        read_dataset("movi", tmp_path)


def test_flying_things_needs_masks_of_what_moves(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames_cleanpass/TRAIN/A/0000/left", "0006.png", "0007.png")
    with pytest.raises(
        InputError, match=r"segmentation/TRAIN/A/0000/left is missing; .*object_index"
    ):
        read_dataset("flyingthings3d", tmp_path)
    write(tmp_path / "segmentation/TRAIN/A/0000/left/0007.png", labels_of((2, 9)) * 255)
    video = only("flyingthings3d", tmp_path)
    assert video.name == "A/0000" and video.annotated == (1,)
    assert np.array_equal(the_mask(video, 1), labels_of((2, 9)) > 0)


def test_a_folder_holds_one_video_or_many(tmp_path: Path) -> None:
    one, many = tmp_path / "walk", tmp_path / "many"
    write_frames(one / "images", "frame9.jpg", "frame10.jpg")
    write(one / "masks/frame10.png", labels_of((2, 9)))
    video = only("folder", one)
    assert video.name == "walk" and video.annotated == (1,)
    assert [path.stem for path in video.frames] == ["frame9", "frame10"]
    for name in ("b", "a"):
        write_frames(many / "images" / name, "0.jpg")
        write(many / "masks" / name / "0.png", labels_of((2, 9)))
    assert [v.name for v in read_dataset("folder", many).videos] == ["a", "b"]
    write(many / "masks/a/1.png", labels_of((2, 9)))
    with pytest.raises(InputError, match=r"masks/a/1\.png belongs to no frame"):
        read_dataset("folder", many)


def test_images_are_rgb_and_of_one_size(tmp_path: Path) -> None:
    blue = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    blue[..., 0] = 255  # OpenCV's order is BGR
    for i in range(3):
        write(tmp_path / f"images/{i}.png", blue)
    write(tmp_path / "masks/0.png", labels_of((2, 9)))
    video = only("folder", tmp_path)
    images = video.images(1, 3)
    assert images.shape == (2, HEIGHT, WIDTH, 3) and images.dtype == np.uint8
    assert (images == np.array((0, 0, 255))).all()
    write(tmp_path / "images/2.png", blue[:-1])
    with pytest.raises(InputError, match=r"2\.png has another size"):
        video.images(0, 3)


def test_masks_of_one_frame_must_have_one_size(tmp_path: Path) -> None:
    make_segtrack(tmp_path)
    write(tmp_path / "GroundTruth/bmx/2/bmx_1.bmp", np.zeros((5, 5), np.uint8))
    video = read_dataset("segtrackv2", tmp_path).videos[0]
    with pytest.raises(InputError, match=r"2/bmx_1\.bmp has another size"):
        video.mask(0)


def test_an_unknown_data_set_and_a_missing_root_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'davis2016' \(did you mean 'davis16'\?\); available"):
        read_dataset("davis2016", tmp_path)
    for name in READERS:
        with pytest.raises(InputError, match="nowhere is missing"):
            read_dataset(name, tmp_path / "nowhere")
        with pytest.raises(InputError, match=f"{tmp_path}.*(is missing|holds no)"):
            read_dataset(name, tmp_path)
