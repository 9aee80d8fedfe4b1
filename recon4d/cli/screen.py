"""What the user sees while a command works: lines, warnings, and the progress of each stage.

Numbers here that name no source were set by hand.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from recon4d.cli.streams import write
from recon4d.core.progress import Counter, Progress
from recon4d.core.text import printable
from recon4d.run.overall import LONG_PLAN, Overall, run_plan

_PLAIN_INTERVAL_S = 10.0
"""Seconds between lines of a long stage where the screen is no terminal: enough to see that it lives."""


def say(text: str, needed: bool = False) -> None:
    """Write a result to standard output.

    Args:
        text: What to write; what a screen would obey, e.g. of a file's name, is escaped (`printable`).
        needed: It is all that the command gives: where the disk is full, that is an error.
    """
    write(sys.stdout, printable(text, keep="\n") + "\n", needed)


def remark(text: str) -> None:
    """Write a message about the work, not a result, to standard error; escaped like a result."""
    write(sys.stderr, printable(text, keep="\n") + "\n")


def complain(text: str) -> None:
    """Write one sentence to standard error: line ends in it are of names, and are escaped, too."""
    remark(printable(text))


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(f"recon4d: {record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def logging_to_screen() -> Iterator[None]:
    """Show the warnings of the library's loggers meanwhile."""
    logger, handler = logging.getLogger("recon4d"), _Lines(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def show_progress(stage: str, total: int) -> AbstractContextManager[Counter]:
    """Show a stage: a bar on a terminal, plain lines otherwise. A `recon4d.core.progress.Progress`."""
    return _bar(stage, total) if sys.stderr.isatty() else _lines(stage, total)


class _Bar:
    def __init__(self, stage: str, total: int) -> None:
        from tqdm import tqdm

        layout = "{desc:<12}{percentage:3.0f}% |{bar}| {elapsed} (left {remaining})"
        self.tqdm = tqdm(total=total, desc=stage, file=sys.stderr, bar_format=layout)

    def advance(self, count: int = 1) -> None:
        self.tqdm.update(count)


@contextmanager
def _bar(stage: str, total: int) -> Iterator[Counter]:
    bar = _Bar(stage, total)
    with bar.tqdm:
        yield bar


@contextmanager
def show_run(loop: int) -> Iterator[Progress]:
    """Show a whole run: one bar with the time left on a terminal, a line per stage otherwise.

    Args:
        loop: Rounds that the run has at most, which tells its stages beforehand.
    """
    if not sys.stderr.isatty():
        yield show_progress
        return
    whole = _WholeRun(loop)
    with whole.bar.tqdm:
        yield whole


class _WholeRun:
    """A `Progress` of all stages together; which they are is known when the frames are read."""

    PARTS = 1000
    """Parts of the bar."""

    def __init__(self, loop: int) -> None:
        self.bar = _Bar("run", self.PARTS)
        self._loop = loop
        self._overall = Overall(run_plan(loop), self._tell)

    def __call__(self, stage: str, total: int) -> AbstractContextManager[Counter]:
        if stage == LONG_PLAN[1][0]:  # a long video, after reading
            self._overall = Overall(LONG_PLAN, self._tell)
        return self._overall(stage, total)

    def _tell(self, stage: str, share: float) -> None:
        self.bar.tqdm.set_description(f"{stage:<12}", refresh=False)
        self.bar.tqdm.update(max(0, round(share * self.PARTS) - self.bar.tqdm.n))


class _PlainLines:
    def __init__(self, stage: str, total: int) -> None:
        self.stage, self.total, self.done = stage, total, 0
        self.begin_s = self.last_s = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self.done += count
        now_s = time.monotonic()
        if now_s - self.last_s >= _PLAIN_INTERVAL_S:
            self.last_s = now_s
            remark(f"{self.stage}: {self.done} of {self.total}")


@contextmanager
def _lines(stage: str, total: int) -> Iterator[Counter]:
    lines = _PlainLines(stage, total)
    yield lines
    remark(f"{stage}: done in {time.monotonic() - lines.begin_s:.1f} s")
