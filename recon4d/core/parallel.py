"""Work on many frames at once, by threads.

Torch and OpenCV release the interpreter while they compute, so frames in parallel use the cores better than threads
inside each small operation, and do not fight with other programs for them. The pipeline therefore runs torch itself
with one thread.

Numbers here that name no source were set by hand.
"""

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import cv2
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
_LARGEST_KEPT = 2**30
"""Bytes up to which blocks have no mapping of their own, and freed memory is not handed back."""
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
def own_torch() -> Iterator[None]:
    """Run torch as recon4d needs it, with one thread each, whatever the caller has set; that is restored.

    Its own are the default type and device, and gradients.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    with ExitStack() as settings:
        settings.enter_context(one_torch_thread())
        if device.type != "cpu":  # every call of torch goes through this mode: not without need
            settings.enter_context(torch.device("cpu"))
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        settings.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch operations with so many threads each, for large networks; the former number is restored.

    With one thread in a process that was forked: it would wait for ever for the threads of the one it came from.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count if os.getpid() == _LOADED_IN else 1)
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


_opencv_threads_at_fork: list[int] = []
_LOADED_IN = os.getpid()
"""The process that loaded this module: another one is a fork of it."""


def _before_fork() -> None:
    """End OpenCV's threads: a forked child has none of them, and would wait for them for ever."""
    _opencv_threads_at_fork.append(cv2.getNumThreads())
    cv2.setNumThreads(1)


def _after_fork() -> None:
    cv2.setNumThreads(_opencv_threads_at_fork.pop())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def half(device: torch.device, enabled: bool) -> torch.autocast:
    """16 bits, with the range of 32 where the device has such numbers."""
    wide = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16 if wide else torch.float16, enabled=enabled)
