"""What all benchmarks share: the data, runs of the real command measured from outside, and honest tables.

Numbers here that name no source were set by hand.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
DEFAULT_ROOT = PROJECT / "../shared/data"
PAGES = PROJECT / "benchmarks/pages"
"""Where the pages that benchmarks make lie, with the numbers beside them as JSON."""
TIME_LIMIT_S = 1800
"""A run that takes longer than this is listed as a failure, seconds."""
TAIL = 300
"""Characters of the last words of a failed run that the table keeps."""


Columns = Mapping[str, tuple[str, str]]
"""By the title of a column: the key of its figure in a row, and how it is written."""
COST: Columns = {"seconds": ("seconds", ".1f"), "peak MB": ("peak_rss_mb", ".0f")}


@dataclass(frozen=True)
class Measured:
    """One process, seen from outside."""

    exit_code: int
    seconds: float
    peak_rss_mb: float
    last_words: str
    """The end of its standard error."""

    def failure(self, root: Path, folder: Path) -> str:
        """Return what the table says about a run that failed."""
        return f"exit {self.exit_code}: {without_places(self.last_words, root, folder)}"


def without_places(text: str, root: Path, folder: Path) -> str:
    """Leave out where this machine keeps things."""
    for place, name in ((root, "DATA"), (folder, "OUT"), (PROJECT, "PROJECT")):
        text = text.replace(str(place), name)
    return text


def data_root(given: str | Path) -> Path:
    """Return the folder of test sequences, or end the program with what is missing."""
    root = Path(given)
    if not root.is_dir():
        raise SystemExit(
            f"{root} is not a folder; the benchmarks need the test sequences: give their folder with --root DIR"
        )
    return root.resolve()


def measure(command: Sequence[str], time_limit_s: float = TIME_LIMIT_S) -> Measured:
    """Run a program to its end; its wall time, and the largest resident memory of it or any child of it."""
    begin_s = time.perf_counter()
    with subprocess.Popen(
        ["timeout", str(round(time_limit_s)), *command],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        last_words, usage = ended(process)
    seconds = time.perf_counter() - begin_s
    return Measured(process.returncode, seconds, rss_mb(usage), last_words)


def ended(process: subprocess.Popen[str]) -> tuple[str, resource.struct_rusage]:
    """Wait for the end of a program; the end of its standard error, and what it and its children used."""
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return said.strip()[-TAIL:], usage


def rss_mb(usage: resource.struct_rusage) -> float:
    """Largest resident memory."""
    to_mb = 1e-6 if sys.platform == "darwin" else 1e-3  # macOS counts bytes, Linux kilobytes
    return usage.ru_maxrss * to_mb


def recon4d(*arguments: str) -> list[str]:
    """Return the command line of this project's own `recon4d`."""
    return [sys.executable, "-m", "recon4d", *arguments]


def machine() -> str:
    """Return processor, usable cores and memory; neither names nor places."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    ram_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {ram_gb:.0f} GB"


def commit() -> str:
    """Return the commit of the project; `+` where files differ from it."""

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        return answer.stdout.strip()

    name = git("rev-parse", "--short", "HEAD") or "unknown"
    return name + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def today() -> str:
    """Return the date in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def provenance(seed: int | None) -> dict[str, object]:
    """Return what every row says about how it was made; `seed` is None where nothing was random."""
    return {"commit": commit(), "date": today(), "machine": machine(), "seed": seed}


def made_lines(rows: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return one line per way in which rows were made."""
    made = set()
    for row in rows.values():
        seed = "" if row["seed"] is None else f", seed {row['seed']}"
        made.add(f"* {row['date']}, commit {row['commit']}, {row['machine']}{seed}")
    return sorted(made)


def made_now(seed: int | None) -> str:
    """Return the line about what is made in one go."""
    return made_lines({"": provenance(seed)})[0]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def remarks(
    rows: Mapping[str, Mapping[str, Any]],
    further: Callable[[Mapping[str, Any]], Iterable[str]] = lambda row: (),
    failed: str = "failed",
) -> list[str]:
    """Return a line per failure, per further remark on a row, and per row with warnings."""
    lines = []
    for name, row in rows.items():
        said = (
            [f"**{failed}**: {' '.join(str(row['failure']).split())}"] if "failure" in row else []
        )
        said += further(row)
        said += [", ".join(row["warnings"])] if row.get("warnings") else []
        lines += [f"* {name}: {one}" for one in said]
    return lines or ["None."]


def number(value: object, form: str) -> str:
    """Return a number as text, `-` where there is none."""
    return format(value, form) if isinstance(value, int | float) else "-"


def cells(row: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    """Return the figures of a row as text."""
    return tuple(number(row.get(key), form) for key, form in columns.values())


def write_whole(path: Path, text: str) -> None:
    """Write a file so that an interruption leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(f".{path.name}.growing")
    growing.write_text(text, encoding="utf-8")
    os.replace(growing, path)


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Read the rows that an earlier benchmark stored; none where there was none."""
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def read_store(path: Path, settings: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return the rows of `{"settings": ..., "rows": ...}`, or end the program where it had other settings."""
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["settings"] != settings:
        raise SystemExit(
            f"{path} holds results of other settings ({json.dumps(stored['settings'])}); give another --out, or the "
            "same settings to go on"
        )
    rows: dict[str, dict[str, Any]] = stored["rows"]
    return rows


def fill(
    path: Path, work: Mapping[str, Callable[[], dict[str, Any]]], again: bool = False
) -> dict[str, dict[str, Any]]:
    """Compute the rows that an earlier benchmark has not stored, or all `again`, storing each; return all rows."""
    rows = {} if again else read_rows(path)
    for key, compute in work.items():
        if key not in rows:
            rows[key] = compute()
            print(json.dumps(rows[key]), flush=True)
            write_whole(path, to_json(rows))
    return rows


def to_json(rows: Mapping[str, Mapping[str, object]]) -> str:
    """Return rows as JSON."""
    return json.dumps(rows, indent=2) + "\n"
