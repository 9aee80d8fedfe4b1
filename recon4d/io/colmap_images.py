"""Which camera took which image, as COLMAP's `images.txt` or `images.bin` say."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from recon4d.core.errors import InputError
from recon4d.core.text import read_text

LARGEST_TEXT = 1 << 30
"""Bytes of an `images.txt`, which has a line of every image's observations."""
HEAD, POINT_BYTES = struct.Struct("<I7dI"), 24
"""What `images.bin` has before an image's name, and an observation after it (COLMAP's documentation)."""


def cameras_of(cameras: Path, frames: Sequence[Path]) -> list[set[str]] | None:
    """Identifiers of the camera that took each of some frames; of several where their folders do not tell which.

    Args:
        cameras: COLMAP's `cameras.txt` or `cameras.bin`, beside which the file of the images is looked for.
        frames: Places of the frames, whose names, and where these are not enough folders, the images have.

    Returns:
        None where there is no file of images.

    Raises:
        InputError: It is damaged, or a frame is not in it.
    """
    path = cameras.with_name(f"images{cameras.suffix}")
    if not path.is_file():
        return None
    by_name: dict[str, dict[str, str]] = {}
    for name, camera in _of_binary(path) if path.suffix == ".bin" else _of_text(path):
        image = PurePosixPath(name)
        by_name.setdefault(image.name, {})[image.parent.name] = camera
    found = []
    for frame in frames:
        folders = by_name.get(frame.name, {})
        if not folders:
            raise InputError(
                f"{path} has no image {frame.name}, and {cameras} several cameras; leave the camera of the frames in "
                "it alone, or leave --intrinsics out"
            )
        own = folders.get(frame.parent.name)
        found.append(set(folders.values()) if own is None else {own})
    return found


def _of_text(path: Path) -> Iterator[tuple[str, str]]:
    """Name and camera of every image: `ID QW QX QY QZ TX TY TZ CAMERA NAME`, then a line of observations."""
    lines = [line for line in read_text(path, LARGEST_TEXT).splitlines() if line[:1] != "#"]
    for line in lines[::2]:
        words = line.split(maxsplit=9)
        if not words:
            continue
        if len(words) != 10 or not words[8].isdecimal():
            raise InputError(
                f"{path} is no images.txt of COLMAP, or is damaged: found {line[:40]!r}, where ID, QW, QX, QY, QZ, TX, "
                "TY, TZ, CAMERA and NAME of an image were needed; export the model again"
            )
        yield words[9].strip(), words[8]


def _of_binary(path: Path) -> Iterator[tuple[str, str]]:
    """The same of `images.bin`."""
    data = path.read_bytes()
    try:
        (count,), at = struct.unpack_from("<Q", data), 8
        for _ in range(count):
            camera = HEAD.unpack_from(data, at)[-1]
            end = data.index(b"\0", at + HEAD.size)
            name = data[at + HEAD.size : end].decode(errors="surrogateescape")
            at = end + 9 + POINT_BYTES * struct.unpack_from("<Q", data, end + 1)[0]
            yield name, str(camera)
    except (struct.error, ValueError) as error:
        raise InputError(
            f"{path} is no images.bin of COLMAP, or is damaged; export the model as text, and give its cameras.txt"
        ) from error
