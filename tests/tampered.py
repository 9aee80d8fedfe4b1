"""A tiny result, and the ways in which it can be damaged."""

import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recon4d.results.motion import MovingObject, Objects, Tracks
from recon4d.results.reconstruction import Reconstruction
from tests.media import textured_frames

FRAMES, HEIGHT, WIDTH = 3, 24, 32
Damage = Callable[[Path], object]


def tiny_result() -> Reconstruction:
    """With everything that a result can have."""
    rng = np.random.default_rng(0)
    shape = (FRAMES, HEIGHT, WIDTH)
    world_from_cam = np.tile(np.eye(4), (FRAMES, 1, 1))
    world_from_cam[:, 0, 3] = 0.1 * np.arange(FRAMES)
    covariance = np.tile(np.eye(6) * 1e-4, (FRAMES, 1, 1))
    covariance[0] = 0
    warnings = [{"code": "interpolated", "message": "Frame 1 is black.", "frames": [1]}]
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=np.tile([40.0, 40.0, WIDTH / 2, HEIGHT / 2], (FRAMES, 1)),
        timestamps_s=np.arange(FRAMES) / 10,
        sources=tuple(f"{index}.png" for index in range(FRAMES)),
        images=textured_frames(FRAMES, WIDTH, HEIGHT),
        depth=rng.uniform(1, 3, shape).astype(np.float32),
        confidence=np.full(shape, 255, np.uint8),
        is_dynamic=rng.uniform(size=shape) > 0.9,
        is_metric=True,
        pose_covariance=covariance,
        depth_std=np.full(shape, 0.1, np.float16),
        tracks=Tracks(
            uv=rng.uniform(0, HEIGHT, (FRAMES, 2, 2)).astype(np.float32),
            is_visible=rng.uniform(size=(FRAMES, 2)) > 0.2,
            sigma_px=np.full((FRAMES, 2), 0.5, np.float32),
            world=rng.normal(size=(FRAMES, 2, 3)).astype(np.float32),
            sigma=np.full((FRAMES, 2), np.inf, np.float32),
            start=np.array([0, 2], np.int32),
            object_id=np.array([0, 1], np.int32),
        ),
        objects=Objects(
            (rng.uniform(size=shape) > 0.9).astype(np.uint8),
            (
                MovingObject(
                    id=1,
                    frames=(0, 2),
                    path=((0.0, 0.0, 1.0), (1.0, 0.0, 1.0)),
                    path_sigma=(0.25, None),
                    box=((0.0, 0.0, 0.0, 1.0, 1.0, 1.0),) * 2,
                    speed=5.0,
                    speed_sigma=None,
                    is_rigid=True,
                ),
            ),
        ),
        scene_flow=np.zeros((*shape, 3), np.float16),
        run={
            "frames": FRAMES,
            "posed": FRAMES,
            "size": [WIDTH, HEIGHT],
            "masks": "d2mif",
            "stages": {"read": {"seconds": 0.5, "peak_rss_mb": 100.0}},
            "warnings": warnings,
        },
        config_toml='input = "a.mp4"\n',
    )


@dataclass(frozen=True)
class Kind:
    """A way to damage a result."""

    damage: Damage
    message: str
    """Pattern that the sentence has."""
    is_seen_by_info: bool = True
    """`info` decodes nothing."""


def bytes_of(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str, keep: int = -20) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def gone(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def folder_at(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def looped(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / name)

    return damage


def array(name: str, values: Any) -> Damage:
    return lambda folder: np.save(folder / name, values, allow_pickle=True)


def picture(name: str, pixels: np.ndarray) -> Damage:
    return lambda folder: cv2.imwrite(str(folder / name), pixels)


def run(**entries: object) -> Damage:
    def damage(folder: Path) -> None:
        known = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(known | entries))

    return damage


def replaced(name: str, old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return damage


def line(name: str, number: int, text: str | None) -> Damage:
    """Replace a line, or remove it."""

    def damage(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[number : number + 1] = [] if text is None else [text]
        (folder / name).write_text("\n".join(lines) + "\n")

    return damage


def one_depth(value: float) -> Damage:
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    depth[3, 4] = value
    return array("depth/000001.npy", depth)


def claimed_shape(folder: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 10000000), }\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    (folder / "depth/000001.npy").write_bytes(start + header + bytes(100))


def claimed_png_size(folder: Path) -> None:
    path = folder / "masks/000001.png"
    data = path.read_bytes()
    path.write_bytes(data[:16] + struct.pack(">II", 60000, 60000) + data[24:])


def spoilt_png(folder: Path) -> None:
    path = folder / "masks/000001.png"
    data = bytearray(path.read_bytes())
    data[45:-14] = bytes(len(data) - 59)
    path.write_bytes(bytes(data))


def covariance(change: Callable[[np.ndarray], object]) -> Damage:
    def damage(folder: Path) -> None:
        values = np.load(folder / "pose_covariance.npy")
        change(values)
        np.save(folder / "pose_covariance.npy", values)

    return damage


class Evil:
    """Leaves a file where pickles are run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("executed", "w"))


DEPTH, STD, MASK, IMAGE, CONFIDENCE = (
    f"{name}/000001.{suffix}"
    for name, suffix in (
        ("depth", "npy"),
        ("depth_std", "npy"),
        ("masks", "png"),
        ("images", "jpg"),
        ("confidence", "png"),
    )
)
GREY = np.zeros((HEIGHT, WIDTH), np.uint8)
FLAT = np.ones((HEIGHT, WIDTH), np.float32)

KINDS = {
    "run gone": Kind(gone("run.json"), "is not a result"),
    "run empty": Kind(bytes_of("run.json", b""), "run.json is not valid JSON"),
    "run a list": Kind(bytes_of("run.json", b"[]"), "is not a result"),
    "run cut": Kind(cut("run.json"), "run.json is not valid JSON"),
    "run nested": Kind(bytes_of("run.json", b"[" * 100_000), "nested too deeply"),
    "run binary": Kind(bytes_of("run.json", b"\xff\xfe\0"), "run.json is not text"),
    "run NaN": Kind(replaced("run.json", "0.5", "NaN"), "NaN is no number"),
    "run long number": Kind(replaced("run.json", "0.5", "9" * 5000), "run.json is not valid JSON"),
    "run huge number": Kind(replaced("run.json", "0.5", "9" * 400), "stages is"),
    "run infinite": Kind(replaced("run.json", "0.5", "1e999"), "stages is"),
    "format text": Kind(run(format="1"), 'result format "1"'),
    "format true": Kind(run(format=True), "result format true"),
    "format 2": Kind(run(format=2), "result format 2"),
    "format table": Kind(run(format={}), "result format {}"),
    "scale unknown": Kind(run(scale="feet"), 'scale is "feet"'),
    "scale number": Kind(run(scale=[1]), "scale is"),
    "frames text": Kind(run(frames="3"), 'frames is "3"'),
    "frames other": Kind(run(frames=4), "speaks of 4 frames"),
    "posed negative": Kind(run(posed=-1), "posed is -1"),
    "posed many": Kind(run(posed=9), "9 of 3 frames are posed"),
    "size other": Kind(run(size=[WIDTH, 9]), "the size is"),
    "size text": Kind(run(size="big"), "size is"),
    "masks table": Kind(run(masks={"a": 1}), "masks is"),
    "stages list": Kind(run(stages=[1]), "stages is"),
    "stages bare": Kind(run(stages={"read": 1}), "stages is"),
    "stages text": Kind(run(stages={"read": {"seconds": "long"}}), "stages is"),
    "stages negative": Kind(run(stages={"read": {"seconds": -1}}), "stages is"),
    "overlay share": Kind(run(overlay={"share": -1}), "overlay is"),
    "overlay frames": Kind(run(overlay={"share": 0.1, "frames": "all"}), "overlay is"),
    "overlay small": Kind(picture("overlay.png", GREY[:9]), "has 32x9 px"),
    "warnings table": Kind(run(warnings={"a": 1}), "warnings is"),
    "warnings texts": Kind(run(warnings=["oh"]), "warnings is"),
    "warnings bare": Kind(run(warnings=[{}]), "warnings is"),
    "warnings frames": Kind(
        run(warnings=[{"code": "a", "message": "b", "frames": "all"}]), "warnings is"
    ),
    "warnings outside": Kind(
        run(warnings=[{"code": "interpolated", "message": "b", "frames": [3]}]), "frame 3"
    ),
    "frames.txt gone": Kind(gone("frames.txt"), "frames.txt cannot be read"),
    "frames.txt empty": Kind(bytes_of("frames.txt", b""), "frames.txt is not a list"),
    "frames.txt binary": Kind(bytes_of("frames.txt", b"\xff\0"), "frames.txt is not text"),
    "frames.txt folder": Kind(folder_at("frames.txt"), "frames.txt is a folder"),
    "frames.txt short": Kind(line("frames.txt", 2, None), "intrinsics.txt has 3 lines for the 2"),
    "frames.txt gap": Kind(line("frames.txt", 1, "2 0.1 a"), "frames.txt is not a list"),
    "frames.txt NaN": Kind(line("frames.txt", 1, "1 nan a"), "frames.txt: found 'nan'"),
    "frames.txt back": Kind(line("frames.txt", 1, "1 -4 a"), "times that do not grow"),
    "frames.txt other time": Kind(line("frames.txt", 1, "1 0.15 a"), "other times than frames.txt"),
    "poses.txt gone": Kind(gone("poses.txt"), "poses.txt cannot be read"),
    "poses.txt empty": Kind(bytes_of("poses.txt", b""), "poses.txt has no poses"),
    "poses.txt short": Kind(line("poses.txt", 2, None), "poses.txt has 2 lines for the 3"),
    "poses.txt NaN": Kind(line("poses.txt", 1, "0.1 nan 0 0 0 0 0 1"), "poses.txt, line 2"),
    "poses.txt infinite": Kind(line("poses.txt", 1, "0.1 1e999 0 0 0 0 0 1"), "poses.txt, line 2"),
    "poses.txt far": Kind(line("poses.txt", 1, "0.1 1e300 0 0 0 0 0 1"), "further than"),
    "poses.txt zero": Kind(line("poses.txt", 1, "0.1 0 0 0 0 0 0 0"), "quaternion has length 0"),
    "poses.txt long": Kind(line("poses.txt", 1, "0.1 0 0 0 0 0 0 2"), "quaternion has length 2"),
    "poses.txt words": Kind(line("poses.txt", 1, "a b c d e f g h"), "poses.txt, line 2"),
    "intrinsics gone": Kind(gone("intrinsics.txt"), "intrinsics.txt cannot be read"),
    "intrinsics no size": Kind(line("intrinsics.txt", 0, None), "needs '# WIDTH HEIGHT'"),
    "intrinsics odd size": Kind(line("intrinsics.txt", 0, "# 9e9 -1"), "needs '# WIDTH HEIGHT'"),
    "intrinsics other size": Kind(line("intrinsics.txt", 0, "# 64 48"), "the size is"),
    "intrinsics short": Kind(line("intrinsics.txt", 1, None), "intrinsics.txt has 2 lines"),
    "intrinsics columns": Kind(line("intrinsics.txt", 1, "40 40"), "fx fy cx cy"),
    "intrinsics zero": Kind(line("intrinsics.txt", 1, "0 40 16 12"), "no focal length"),
    "intrinsics negative": Kind(line("intrinsics.txt", 1, "-40 40 16 12"), "no focal length"),
    "intrinsics NaN": Kind(line("intrinsics.txt", 1, "nan 40 16 12"), "intrinsics.txt, line 2"),
    "intrinsics huge": Kind(line("intrinsics.txt", 1, "1e300 40 16 12"), "no focal length"),
    "config binary": Kind(bytes_of("config.toml", b"\xff"), "config.toml is not text"),
    "config NUL": Kind(bytes_of("config.toml", b"a\0"), "config.toml is not text"),
    "covariance NaN": Kind(covariance(lambda v: v.fill(np.nan)), "no covariances"),
    "covariance negative": Kind(covariance(lambda v: v.__imul__(-1)), "no covariances"),
    "covariance skew": Kind(covariance(lambda v: v[1, 0].__iadd__(1)), "no covariances"),
    "covariance shape": Kind(array("pose_covariance.npy", np.zeros((9, 6, 6))), r"\(9, 6, 6\)"),
    "covariance half": Kind(
        array("pose_covariance.npy", np.zeros((3, 6, 6), np.float16)), "holds float16"
    ),
    "depth gone": Kind(gone(DEPTH), "000001.npy cannot be read"),
    "depth empty": Kind(bytes_of(DEPTH, b""), "is no array"),
    "depth cut": Kind(cut(DEPTH), "bytes, .* were needed"),
    "depth longer": Kind(
        lambda f: (f / DEPTH).write_bytes((f / DEPTH).read_bytes() + b"0"), "bytes, .* were needed"
    ),
    "depth folder": Kind(folder_at(DEPTH), "is a folder or device"),
    "depth of objects": Kind(array(DEPTH, np.array([Evil()], object)), "holds|no plain array"),
    "depth a pickle": Kind(bytes_of(DEPTH, pickle.dumps(Evil())), "is no array"),
    "depth enormous": Kind(claimed_shape, r"holds float32 \(100000, 10000000\)"),
    "depth double": Kind(array(DEPTH, FLAT.astype(float)), "holds float64"),
    "depth whole": Kind(array(DEPTH, FLAT.astype(np.int32)), "holds int32"),
    "depth text": Kind(array(DEPTH, np.array(["a"])), "holds"),
    "depth swapped": Kind(array(DEPTH, FLAT.astype(">f4")), "holds"),
    "depth 3-D": Kind(array(DEPTH, FLAT[None]), r"\(1, 24, 32\)"),
    "depth small": Kind(array(DEPTH, FLAT[:9]), r"holds float32 \(9, 32\)"),
    "depth NaN": Kind(one_depth(np.nan), "no depth", is_seen_by_info=False),
    "depth infinite": Kind(one_depth(np.inf), "no depth", is_seen_by_info=False),
    "depth negative": Kind(one_depth(-1), "no depth", is_seen_by_info=False),
    "depth enormous value": Kind(one_depth(1e30), "no depth", is_seen_by_info=False),
    "depth extra": Kind(
        lambda f: np.save(f / "depth/000003.npy", FLAT), "000003.npy is of a frame that"
    ),
    "std NaN": Kind(
        array(STD, np.full_like(FLAT, np.nan, np.float16)), "no standard dev", is_seen_by_info=False
    ),
    "std negative": Kind(
        array(STD, np.full_like(FLAT, -1, np.float16)), "no standard dev", is_seen_by_info=False
    ),
    "std single": Kind(array(STD, FLAT), "holds float32"),
    "std gone": Kind(gone(STD), "000001.npy cannot be read"),
    "mask gone": Kind(gone(MASK), "000001.png cannot be read"),
    "mask empty": Kind(bytes_of(MASK, b""), "is no PNG"),
    "mask a JPEG": Kind(
        lambda f: (f / MASK).write_bytes((f / IMAGE).read_bytes()), "is no PNG image"
    ),
    "mask cut": Kind(cut(MASK), "is cut off"),
    "mask spoilt": Kind(spoilt_png, "no image that can be decoded", is_seen_by_info=False),
    "mask claims 60000": Kind(claimed_png_size, "has 60000x60000 px"),
    "mask small": Kind(picture(MASK, GREY[:9]), "has 32x9 px"),
    "mask colours": Kind(picture(MASK, np.dstack([GREY] * 3)), "channels", is_seen_by_info=False),
    "confidence 16 bit": Kind(
        picture(CONFIDENCE, GREY.astype(np.uint16)), "uint16", is_seen_by_info=False
    ),
    "confidence gone": Kind(gone(CONFIDENCE), "000001.png cannot be read"),
    "image gone": Kind(gone(IMAGE), "000001.jpg cannot be read"),
    "image cut": Kind(cut(IMAGE), "is cut off"),
    "image text": Kind(bytes_of(IMAGE, b"hello"), "is no JPG image"),
    "image small": Kind(picture(IMAGE, np.dstack([GREY[:9]] * 3)), "has 32x9 px"),
    "image extra": Kind(
        lambda f: (f / "images/000003.jpg").write_bytes((f / IMAGE).read_bytes()), "000003.jpg is"
    ),
    "images a file": Kind(
        lambda f: [(f / "images").rename(f / "x"), (f / "images").write_text("")],
        "images cannot be read",
    ),
    "all images loops": Kind(looped(IMAGE), "cannot be read"),
}
"""Every kind by its name."""
