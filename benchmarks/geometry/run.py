"""Running the sequences of a benchmark of poses or depth one after the other, and going on where it stopped."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.geometry.job import Job
from benchmarks.measure.common import (
    Measured,
    measure,
    provenance,
    read_store,
    recon4d,
    without_places,
    write_whole,
)
from benchmarks.sets import find
from benchmarks.sets.recordings import Found, Recording, stage
from recon4d.core.errors import Recon4DError
from recon4d.results.folder import read_result
from recon4d.results.result import Result

Row = dict[str, Any]
Reconstruct = Callable[[Path, Path, tuple[str, ...]], Measured]
"""Reconstructs an RGB-D folder in TUM layout into a result folder, with options of `recon4d run`."""
Score = Callable[[Job, Recording, Result], Row]
"""Compares a result with the truth; `failure` in the row says why its protocol's own figures are not there."""
Lost = Callable[[Job, Recording], Row]
"""What the row of a sequence without a result says beside its failure."""


@dataclass(frozen=True)
class Outcome:
    """What is known so far."""

    job: Job
    rows: Mapping[str, Row]
    """Finished sequences that were asked for, failed ones included."""
    asked: int
    """Sequences that were asked for."""
    notes: tuple[str, ...] = ()


def by_command(source: Path, result: Path, options: tuple[str, ...]) -> Measured:
    """Run the real command."""
    return measure(recon4d("run", str(source), *options, "--out", str(result)))


def run_all(
    job: Job,
    score: Score,
    lost: Lost,
    reconstruct: Reconstruct,
    write: Callable[[Outcome], tuple[dict[str, object], str]],
) -> Outcome:
    """Measure all sequences that are not finished, writing what is known after each.

    Args:
        job: What is measured.
        score: Compares a result.
        lost: Says what a failed sequence loses.
        reconstruct: Makes a result.
        write: Returns what the store holds beside settings and rows, and the page.
    """
    sequences = find(job.root, job.names, job.protocol, job.task)
    rows = read_store(job.out / "results.json", job.settings)
    outcome = Outcome(job, {}, len(sequences.found), sequences.notes)
    done: dict[str, Row] = {}
    for found in sequences.found:
        is_finished = found.name in rows and "failure" not in rows[found.name]
        if job.results is not None or not is_finished:
            print(f"{found.name} ...", flush=True)
            rows[found.name] = measure_sequence(job, found, score, lost, reconstruct)
        done[found.name] = rows[found.name]
        outcome = dataclasses.replace(outcome, rows=dict(done))
        _keep(outcome, rows, *write(outcome))
    return outcome


def _keep(outcome: Outcome, rows: Mapping[str, Row], further: Row, page: str) -> None:
    """Write the store, with rows that were not asked for this time, and the page."""
    job = outcome.job
    whole = {"settings": job.settings, "command": job.command, "notes": outcome.notes}
    text = json.dumps({**whole, **further, "rows": rows}, indent=1, allow_nan=False)
    write_whole(job.out / "results.json", text + "\n")
    write_whole(job.out / "results.md", page)


def measure_sequence(
    job: Job, found: Found, score: Score, lost: Lost, reconstruct: Reconstruct
) -> Row:
    """Reconstruct a sequence and compare it; a failure becomes a row like any other."""
    row: Row = provenance(None if job.results is not None else job.seed)
    row["command"] = job.command
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            recording = found.read()
        except Recon4DError as error:
            failure = f"truth: {without_places(str(error), job.root, folder)}"
            return row | {"frames": None, "failure": failure}
        row["note"] = recording.note
        recording = recording.first(job.max_frames)
        row["frames"] = len(recording.frames)
        try:
            if job.results is None:
                row |= _run(job, recording, folder, reconstruct)
            if "failure" not in row:
                row |= _compared(job, recording, folder, score)
        except Recon4DError as error:
            row["failure"] = str(error)
        if "failure" in row and row.get(job.task) is None:
            row |= lost(job, recording)
        return {key: _nameless(value, job, folder) for key, value in row.items()}


def _nameless(value: object, job: Job, folder: Path) -> object:
    """Leave out of all texts where this machine keeps things."""
    if isinstance(value, dict):
        return {key: _nameless(item, job, folder) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    if job.results is not None:
        value = value.replace(str(job.results), job.results.name)
    return without_places(value, job.root, folder)


def _run(job: Job, recording: Recording, folder: Path, reconstruct: Reconstruct) -> Row:
    """Make a result at `folder/result`, and keep it if that is wanted."""
    source = stage(recording, folder / recording.name, job.uses_sensor_depth)
    measured = reconstruct(source, folder / "result", job.run_options)
    row: Row = {"seconds": measured.seconds, "peak_rss_mb": measured.peak_rss_mb}
    if measured.exit_code != 0:
        return row | {"failure": measured.failure(job.root, folder)}
    if job.keep:
        kept = job.out / "results" / recording.name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder / "result", kept)
    return row


def _compared(job: Job, recording: Recording, folder: Path, score: Score) -> Row:
    result = read_result(folder / "result" if job.results is None else job.results / recording.name)
    run = result.run
    warnings = run.get("warnings", [])
    assert isinstance(warnings, list)
    row: Row = {
        "posed": run.get("posed"),
        "focal_known": run.get("focal_known"),
        "is_metric": result.is_metric,
        "warnings": [warning["code"] for warning in warnings],
        "without_result": len(recording.frames) - len(set(recording.indices(result.sources))),
    }
    return row | score(job, recording, result)
