"""An `.npy` file that grows frame by frame, so that memory does not grow with the video."""

from pathlib import Path
from types import TracebackType

import numpy as np

from recon4d.io.output import writing


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
        stored: np.ndarray = np.load(str(self._path.resolve()), mmap_mode="r")
        return stored

    def _write_header(self) -> None:
        assert self._like is not None, "finish() without append()"
        shape = (self._count, *self._like.shape)
        header = {"descr": self._like.dtype.str, "fortran_order": False, "shape": shape}
        with writing(self._path):
            np.lib.format.write_array_header_1_0(self._file, header)
