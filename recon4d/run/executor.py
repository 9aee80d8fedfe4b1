"""Independent jobs in worker processes on this machine, or on a Ray cluster.

A job leaves its results in files and returns nothing, so that it may run anywhere the files can be reached, in any
order. Every worker computes with one thread: results do not depend on how many there are.

Numbers here that name no source were set by hand.
"""

import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from multiprocessing import active_children, current_process, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

import cv2
import torch

from recon4d.core.errors import MissingDependencyError, WorkerError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What linear algebra libraries read when they are loaded."""


TICK_S = 1.0
"""Seconds between two looks at how far the workers are."""
END_S = 10.0
"""Seconds that workers without work have to end before they are killed: one that was stopped never does."""
DIED = (
    "a worker process ended before its work was done (killed, for want of memory?); what is finished is kept: give the "
    "same command with --resume, and --workers 1 where memory is short"
)


class Executor(ABC):
    """Runs jobs."""

    def run(
        self,
        work: Callable[[Any], None],
        jobs: Sequence[Any],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Run `work` on every job; returns when all are finished, raises what the first failing one raised.

        Args:
            work: A function of a module.
            jobs: What can be pickled.
            tick: Called after every finished job, and about once a second meanwhile.
        """
        for _ in self._steps(work, jobs):
            tick()

    @abstractmethod
    def _steps(self, work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        """Run the jobs, handing over after every finished one and about once a second."""


@contextmanager
def executor(name: str, workers: int) -> Iterator[Executor]:
    """An executor by its name on the command line; its workers end with the block, whatever happens in it.

    Args:
        name: `local` or `ray`.
        workers: Most jobs at the same time.

    Raises:
        MissingDependencyError: Ray is asked for and not installed.
    """
    how: AbstractContextManager[Executor]
    if name == "ray":
        how = _ray(workers)
    elif current_process().daemon:  # of a pool of the user's: such a process may not have children
        how = nullcontext(_Here())
    else:
        how = _local(workers)
    with how as made:
        yield made


def check_executor(name: str) -> None:
    """Raise a `MissingDependencyError` where an executor needs a package that is not installed."""
    if name == "ray" and find_spec("ray") is None:
        raise MissingDependencyError(
            "--executor ray needs Ray, which is not installed: pip install 'recon4d[ray]', or use --executor local"
        )


class _Here(Executor):
    """Jobs one after the other in this process."""

    def _steps(self, work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        for job in jobs:
            work(job)
            yield


class _Worker(SpawnProcess):
    """A process that does not load the user's script, which may come from standard input, or begin a run itself.

    A job is a function of a module of ours: nothing in the script is needed.
    """

    def start(self) -> None:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = script


class _Context(SpawnContext):
    Process = _Worker


@contextmanager
def _local(workers: int) -> Iterator[Executor]:
    before = set(active_children())
    variables = dict.fromkeys(THREAD_VARIABLES, "1")
    saved = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    pool = ProcessPoolExecutor(workers, mp_context=_Context(), initializer=_begin)
    end_s = END_S
    try:
        yield _Local(pool)
    except BaseException:  # an interrupt, too: a clip takes a minute, nobody waits for it
        end_s = 0.0
        raise
    finally:
        _end(pool, before, end_s)
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end(pool: ProcessPoolExecutor, before: set[BaseProcess], end_s: float) -> None:
    """End a pool; workers that have not ended by then are killed, which also ends one that was stopped.

    Processes that were there before stay; one that the pool was just starting is seen when the others are gone.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    last_s = time.monotonic() + end_s
    while workers := set(active_children()) - before:
        for process in workers:
            process.join(max(0.0, last_s - time.monotonic()))
            process.kill()
            process.join()


class _Local(Executor):
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def _steps(self, work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        try:
            running = {self._pool.submit(work, job) for job in jobs}
            while running:
                finished, running = wait_for(running, TICK_S, FIRST_COMPLETED)
                for future in finished:
                    future.result()
                yield
        except BrokenProcessPool as error:
            raise WorkerError(DIED) from error


def _begin() -> None:
    """Prepare a worker: one thread, the parent takes interrupts, and without the parent there is no work."""
    _one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "runs in a worker"

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)  # a resumed run must not meet this worker in the same folder

    threading.Thread(target=follow, daemon=True).start()


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@contextmanager
def _ray(workers: int) -> Iterator[Executor]:
    check_executor("ray")
    import ray

    own = not ray.is_initialized()
    if own and os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    elif own:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        yield _Ray(ray)
    finally:
        if own:
            ray.shutdown()


class _Ray(Executor):
    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def _steps(self, work: Callable[[Any], None], jobs: Sequence[Any]) -> Iterator[None]:
        variables = {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
        remote = self._ray.remote(num_cpus=1, max_retries=0, runtime_env=variables)(_alone)
        running = [remote.remote(work, job) for job in jobs]
        while running:
            finished, running = self._ray.wait(running, timeout=TICK_S)
            try:
                self._ray.get(finished)
            except self._ray.exceptions.RayTaskError as error:
                self._cancel(running)
                raise error.cause from error
            except self._ray.exceptions.WorkerCrashedError as error:
                self._cancel(running)
                raise WorkerError(DIED) from error
            yield

    def _cancel(self, running: Sequence[Any]) -> None:
        for other in running:
            self._ray.cancel(other, force=True)


def _alone(work: Callable[[Any], None], job: Any) -> None:
    _one_thread()
    work(job)
