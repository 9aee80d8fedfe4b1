"""The last steps of a run: the result is written, its preview is drawn, and run.json says what all of it took."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from recon4d.core.files import writing
from recon4d.core.stages import peak_rss_mb
from recon4d.results.folder import write_result
from recon4d.results.preview import write_preview
from recon4d.results.result import Result


@dataclass(frozen=True)
class Clock:
    """When a run began, in seconds of `time.monotonic`."""

    began_s: float
    """The command, or the call."""
    ready_s: float
    """The first stage: before it, programs are loaded and options and inputs are checked."""

    @classmethod
    def started(cls, began_s: float | None) -> "Clock":
        """A clock of a run whose first stage begins now; None: so does the run."""
        now_s = time.monotonic()
        return cls(now_s if began_s is None else began_s, now_s)


def write_all(result: Result, folder: Path, clock: Clock) -> Path:
    """Write the whole result beside its final place, into a partial folder."""
    finished = folder / "result"
    shutil.rmtree(finished, ignore_errors=True)
    begun_s = time.monotonic()
    write_result(result, finished)
    written_s = time.monotonic()
    write_preview(result, finished / "preview.png")
    drawn_s = time.monotonic()
    add_costs(finished, clock, {"write": written_s - begun_s, "preview": drawn_s - written_s})
    return finished


def add_costs(finished: Path, clock: Clock, seconds: dict[str, float]) -> None:
    """Add to run.json what lies outside the stored stages, and the wall time of the session that ends the run."""
    path = finished / "run.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    memory = peak_rss_mb()
    outside = {"start": clock.ready_s - clock.began_s, **seconds}
    costs = {name: {"seconds": cost, "peak_rss_mb": memory} for name, cost in outside.items()}
    run["stages"] = {"start": costs.pop("start"), **run.get("stages", {}), **costs}
    run["seconds"] = sum(cost["seconds"] for cost in run["stages"].values())
    run["wall_seconds"] = time.monotonic() - clock.began_s
    run["peak_rss_mb"] = max(cost["peak_rss_mb"] for cost in run["stages"].values())
    with writing(path):
        path.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
