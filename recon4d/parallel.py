"""Work on many frames at once, by threads.

Torch and OpenCV release the interpreter while they compute, so frames in parallel use the cores better than threads
inside each small operation, and do not fight with other programs for them. The pipeline therefore runs torch itself
with one thread.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import cv2
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
_LARGEST_KEPT = 2**30
"""Bytes."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results of `work` in the order of the items."""
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        yield from pool.map(work, items)


def keep_memory() -> None:
    """Let the C library keep freed memory for the next large array instead of handing it back to the system.

    Large arrays that come and go in every step are otherwise mapped, zeroed and unmapped each time: half of the time of
    a training step here. Does nothing where the C library is not glibc.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_M_TRIM_THRESHOLD, _LARGEST_KEPT)


def one_torch_thread() -> AbstractContextManager[None]:
    """Run torch operations with one thread each; the former number is restored."""
    return torch_threads(1)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch operations with so many threads each, for large networks; the former number is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Inside, OpenCV works with one thread: an image per thread scales better than its own threads in an image."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
