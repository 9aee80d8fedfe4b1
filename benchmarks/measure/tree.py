"""A program with all its processes, seen from outside: memory of all together, and processor time.

Numbers here that name no source were set by hand.
"""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.common import PROJECT, ended

INTERVAL_S = 1.0
"""Between two looks at the memory."""


@dataclass(frozen=True)
class Watched:
    """One program, seen from outside."""

    exit_code: int
    seconds: float
    cpu_seconds: float
    """User and system time of all its processes."""
    peak_pss_mb: float
    """Largest sum over its processes of their proportional set size, every second: pages that several share, of the
    interpreter, of libraries and of mapped files, count once."""
    peak_rss_mb: float
    """Largest sum of resident set sizes: shared pages count once per process."""
    last_words: str
    """The end of its standard error."""


def watch(command: Sequence[str], time_limit_s: float) -> Watched:
    """Run a program in a session of its own, and look at all processes of the session until it ends."""
    begin_s = time.perf_counter()
    peak = {"Pss": 0.0, "Rss": 0.0}
    with subprocess.Popen(
        ["timeout", "--foreground", str(round(time_limit_s)), *command],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        is_over = threading.Event()

        def look() -> None:
            while not is_over.wait(INTERVAL_S):
                for key, value in _memory_mb(process.pid).items():
                    peak[key] = max(peak[key], value)

        threading.Thread(target=look, daemon=True).start()
        last_words, usage = ended(process)
        is_over.set()
    return Watched(
        exit_code=process.returncode,
        seconds=time.perf_counter() - begin_s,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_pss_mb=peak["Pss"],
        peak_rss_mb=peak["Rss"],
        last_words=last_words,
    )


def _memory_mb(session: int) -> dict[str, float]:
    """Sums over the processes of a session."""
    total = {"Pss": 0.0, "Rss": 0.0}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) != session:
                continue
            lines = (folder / "smaps_rollup").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue  # it ended meanwhile
        for line in lines:
            name, _, value = line.partition(":")
            if name in total:
                total[name] += float(value.split()[0]) / 1e3
    return total
