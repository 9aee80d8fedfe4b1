"""The last steps of a run: the result is written, its preview is drawn, and run.json says what all of it took."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from recon4d.core.stages import peak_rss_mb, stage_costs
from recon4d.results.folder import write_data, write_run
from recon4d.results.preview import write_preview
from recon4d.results.result import Result
from recon4d.results.run_file import read_run
from recon4d.run.stages import ALONE, FIRST_LOOK, LENS, UNDISTORTED


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
    write_data(result, finished)
    written_s = time.monotonic()
    write_preview(result, finished / "preview.png")
    outside = {"write": written_s - begun_s, "preview": time.monotonic() - written_s}
    write_run(result.run | costs(every_cost(folder), clock, outside), result.is_metric, finished)
    return finished


def add_cost(finished: Path, name: str, seconds: float) -> None:
    """Add what was done to a result after it was written to the costs in its run.json."""
    run = read_run(finished)
    stages = run["stages"]
    assert isinstance(stages, dict), "costs wrote them"
    stages[name] = {"seconds": seconds, "peak_rss_mb": peak_rss_mb()}
    for each in ("seconds", "wall_seconds"):
        before = run[each]
        assert isinstance(before, float), "costs wrote it"
        run[each] = before + seconds
    run["peak_rss_mb"] = max(stage["peak_rss_mb"] for stage in stages.values())
    write_run(run, run["scale"] == "metric", finished)


def every_cost(folder: Path) -> dict[str, dict[str, float]]:
    """Cost of the stages of a run's folder, with those that found the lens of its video."""
    if folder.name == UNDISTORTED:
        before = {f"lens_{name}": cost for name, cost in stage_costs(folder.parent).items()}
        found = {"lens": before.pop(f"lens_{LENS.name}", {"seconds": 0.0, "peak_rss_mb": 0.0})}
        return before | _alone(folder.parent) | stage_costs(folder) | found
    return _alone(folder) | stage_costs(folder)


def _alone(folder: Path) -> dict[str, dict[str, float]]:
    """Cost of stages that only found a lens."""
    return {
        f"{word}_{name}": cost
        for word, place in (("lens", ALONE), ("look", FIRST_LOOK))
        for name, cost in stage_costs(folder / place).items()
    }


def costs(
    stages: dict[str, dict[str, float]], clock: Clock, outside_s: dict[str, float]
) -> dict[str, object]:
    """What a run took, for run.json: by stages, in sum, and the wall time of the session that ends it.

    Args:
        stages: Cost of every stored stage.
        clock: When the run began.
        outside_s: Seconds of what is not stored as a stage, after them.
    """
    memory = peak_rss_mb()
    start_s = {"start": clock.ready_s - clock.began_s}
    every = {
        name: {"seconds": cost, "peak_rss_mb": memory}
        for name, cost in (start_s | outside_s).items()
    }
    every = {"start": every.pop("start"), **stages, **every}
    return {
        "stages": every,
        "seconds": sum(cost["seconds"] for cost in every.values()),
        "wall_seconds": time.monotonic() - clock.began_s,
        "peak_rss_mb": max(cost["peak_rss_mb"] for cost in every.values()),
    }
