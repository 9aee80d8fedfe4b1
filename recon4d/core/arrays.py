"""`.npy` files: one that grows frame by frame, one that is filled in place, one that is written at once.

numpy's own writers do not tell a full disk: `np.save` raises an error without its number, and a memory map of a file
with holes ends the process by a signal.
"""

import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Bool

from recon4d.core.files import writing


def runs(is_true: Bool[np.ndarray, " values"]) -> list[tuple[int, int]]:
    """Where values are true in a row: the first index of each run, and one beyond its last."""
    steps = np.flatnonzero(np.diff(np.concatenate(([0], is_true.astype(np.int8), [0]))))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))


def read_only_map(path: Path) -> np.ndarray:
    """Map an `.npy` file that was just written, not to be written to."""
    stored: np.ndarray = np.load(str(path.resolve()), mmap_mode="r")
    return stored


class GrowingArray:
    """Writes arrays of one shape, one after the other, as the first axis of an `.npy` file.

    The header is written first for 0 frames and again at the end: numpy pads headers so that the length of the first
    axis can grow in place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._like: np.ndarray | None = None
        with writing(path):
            self._file = path.open("wb")

    def __enter__(self) -> "GrowingArray":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self._path):
            self._file.close()

    def append(self, values: np.ndarray) -> None:
        """Write one more array; all must have the same shape and dtype."""
        if self._like is None:
            self._like = np.empty_like(values)
            self._write_header()
        with writing(self._path):
            self._file.write(np.ascontiguousarray(values).data)
        self._count += 1

    def finish(self) -> np.ndarray:
        """Complete the file and return a read-only memory map of it."""
        with writing(self._path):
            self._file.seek(0)
            self._write_header()
            self._file.close()
        return read_only_map(self._path)

    def _write_header(self) -> None:
        assert self._like is not None, "finish() without append()"
        shape = (self._count, *self._like.shape)
        header = {"descr": self._like.dtype.str, "fortran_order": False, "shape": shape}
        with writing(self._path):
            np.lib.format.write_array_header_1_0(self._file, header)


def create_array(
    path: Path, dtype: type[np.generic], shape: tuple[int, ...]
) -> np.memmap[Any, np.dtype[Any]]:
    """Create an `.npy` file of zeros to be filled in place; its room on the disk is taken now."""
    with writing(path):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def map_array(path: Path) -> np.ndarray:
    """Map an `.npy` file, copied where it is written to; unlike numpy's maps, this one keeps no file open.

    A long video has many: what may be open at a time is limited, often to 256 or 1,024 files.
    """
    import torch  # not to read a result

    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file)
        begin = file.tell()
        if dtype.hasobject:
            raise ValueError(f"{path} holds Python objects")
        size = begin + dtype.itemsize * math.prod(shape)
        has_bytes = any("\ud800" <= letter <= "\udfff" for letter in str(path))  # that are no UTF-8
        name = f"/dev/fd/{file.fileno()}" if has_bytes else str(path)  # torch does not take them
        content = torch.from_file(name, shared=False, size=size, dtype=torch.uint8)
    flat: np.ndarray = content.numpy()[begin:].view(dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an `.npy` file as `np.save` does."""
    stored = np.ascontiguousarray(array)
    with writing(path), path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(stored))
        file.write(stored.data)
