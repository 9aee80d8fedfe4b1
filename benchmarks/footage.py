"""Footage as people shoot it, through the real command: `python -m benchmarks.footage`.

Every clip of DAVIS and of the videos of the test material, or of the folders that are given, is reconstructed. What its
result shows of itself, and what true masks say of it, becomes a row of the page; all previews become one picture.
Options that are not the benchmark's own are handed on to `recon4d run`.
"""

import argparse
import dataclasses
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    Columns,
    cells,
    markdown_table,
    number,
    read_store,
    remarks,
    write_whole,
)
from benchmarks.scores.footage import STEPS, figures
from benchmarks.scores.masks import compare
from benchmarks.scores.one_run import run_row, said_of_run, with_run_options
from benchmarks.scores.page import Row, Rows, head, tail
from benchmarks.scores.sheet import write_sheet
from benchmarks.sets.shots import Shot, find_shots
from recon4d.core.errors import Recon4DError
from recon4d.flow import flow_method
from recon4d.results.folder import read_result
from recon4d.results.result import Result

SETS = ("davis2016", "davis_more", "videos")
"""Of the test material."""
COLUMNS: Columns = {
    "J": ("jaccard", ".3f"),
    "steady": ("steady", ".3f"),
    "upright": ("upright", ".2f"),
    "path": ("path", ".2f"),
    "seconds": ("seconds", ".0f"),
}
EXPLAINED = """\
All without truth but J. `motion`: the kind that was found. `focal`: shortest and longest focal length over the width.
`flow`: median static flow residual of run.json 1 / 5 / 10 frames apart, pixels of the working size. `tracked`: median
distance of where depth and cameras predict static corners from where they are tracked, 1 / 5 / 10 frames apart. J: of
the masks, where there are true ones. `steady`: overlap (J) of every mask with the one before, carried along the flow.
`upright`: share of the frames whose static depth is larger in the middle third than in the bottom third. `path`: length
of the camera's path over the median depth of what is measured. `-`: there is none.
"""


@dataclass(frozen=True)
class Job:
    """What is asked."""

    folders: tuple[Path, ...]
    options: tuple[str, ...]
    """Of `recon4d run`."""
    page: Path
    store: Path
    keep: Path | None = None
    """Where results stay; None: they do not."""
    only: str | None = None
    resume: bool = False

    @property
    def command(self) -> str:
        """The command line of the benchmark, without places of this machine."""
        return shlex.join(["python", "-m", "benchmarks.footage", *self.options])


def parse_job(words: Sequence[str]) -> Job:
    """Read the command line; words that the benchmark does not know are options of `recon4d run`.

    Raises:
        ConfigError: `recon4d run` does not know them either.
    """
    given, options = with_run_options(_parser(), words)
    return Job(
        folders=tuple(given.data),
        options=options,
        page=given.out,
        store=given.json or given.out.with_suffix(".json"),
        keep=given.keep,
        only=given.only,
        resume=given.resume,
    )


def _parser() -> argparse.ArgumentParser:
    page = PAGES / "footage.md"
    parser = command_line("footage", __doc__, out=page, resume=False)
    parser.allow_abbrev = False
    parser.epilog = "Any other option is one of recon4d run: --size, --masks, --max-frames, ..."
    add, every = parser.add_argument, [DEFAULT_ROOT / name for name in SETS]
    text = "folders with clips, also in DAVIS's layout (those of the test material)"
    add("--data", type=Path, nargs="+", default=every, metavar="DIR", help=text)
    add("--only", metavar="WORD", help="clips whose name contains this")
    add("--keep", type=Path, metavar="DIR", help="keep the result folders, and the sheet, here")
    add("--json", type=Path, metavar="FILE", help="where the numbers go (beside the page)")
    return parser


def run_shot(shot: Shot, options: Sequence[str], result: Path) -> Row:
    """Reconstruct a clip and take its figures; a failure becomes a row like any other."""
    return run_row(
        shot.name, shot.source, result, options, lambda: figures_of(read_result(result), shot)
    )


def figures_of(result: Result, shot: Shot) -> Row:
    """Everything that is measured of a result."""
    threads = len(os.sched_getaffinity(0))
    found = dataclasses.asdict(figures(result, flow_method("dis"), threads))
    row = said_of_run(result.run) | found
    return row if shot.truth is None else row | _against_truth(result, shot)


def _against_truth(result: Result, shot: Shot) -> Row:
    """Mean J and F over the frames that have a true mask."""
    assert shot.truth is not None, "the caller has looked"
    place = {path.stem: at for at, path in enumerate(shot.truth.frames)}
    scores = []
    for source, moving in zip(result.sources, result.is_dynamic, strict=True):
        truth = shot.truth.mask(place[Path(source).stem])
        if truth is not None:
            scores.append(compare(moving, truth))
    region, contour = np.mean(scores, axis=0) if scores else (np.nan, np.nan)
    return {"jaccard": float(region), "contour": float(contour)} if scores else {}


def report(rows: Rows, command: str) -> str:
    """The page."""
    header = ("clip", "posed", "motion", "focal", "flow px", "tracked px", *COLUMNS)
    table = markdown_table(header, [_line(name, row) for name, row in rows.items()])
    parts = [
        *head("Footage as people shoot it", command, rows, ()),
        f"\n{EXPLAINED}",
        table,
        *tail(rows, "Failures and warnings", remarks(rows)),
    ]
    return "\n".join(parts) + "\n"


def _line(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    posed = f"{number(row.get('posed'), 'd')}/{number(row.get('frames'), 'd')}"
    focal = [number(row.get(f"focal_{end}"), ".2f") for end in ("low", "high")]
    flow, tracked = row.get("residual_px", {}), row.get("tracked", {})
    medians = {step: one["median_px"] for step, one in tracked.items()}
    return (
        name,
        posed,
        str(row.get("motion") or "-"),
        "-" if focal[0] == "-" else " to ".join(dict.fromkeys(focal)),
        *(_by_steps(each) for each in (flow, medians)),
        *cells(row, COLUMNS),
    )


def _by_steps(found: Mapping[str, float | None]) -> str:
    return " / ".join(number(found.get(str(step)), ".2f") for step in STEPS)


def run_job(job: Job, shots: Sequence[Shot], folder: Path) -> None:
    """Run the clips, writing what is known after each; results go to the folder."""
    settings = {"options": list(job.options)}
    rows = read_store(job.store, settings)
    shown: dict[str, Path | str] = {}
    for shot in shots:
        result = folder / shot.name
        if not (job.resume and shot.name in rows and "failure" not in rows[shot.name]):
            print(f"{shot.name} ...", flush=True)
            rows[shot.name] = run_shot(shot, job.options, result)
            print(f"  {rows[shot.name]}", flush=True)
            rows = dict(sorted(rows.items()))
        write_whole(job.store, json.dumps({"settings": settings, "rows": rows}, indent=2) + "\n")
        write_whole(job.page, report(rows, job.command))
        if (result / "preview.png").is_file() and "failure" not in rows[shot.name]:
            shown[shot.name] = result / "preview.png"
        else:
            shown[shot.name] = str(rows[shot.name].get("failure", "not run again, and not kept"))
    sheet = job.page.with_suffix(".png") if job.keep is None else job.keep / "previews.png"
    write_sheet(sheet, shown)
    print(f"wrote {job.page}, {job.store} and {sheet}")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    try:
        job = parse_job(sys.argv[1:] if words is None else words)
        shots = find_shots(job.folders)
    except Recon4DError as error:
        raise SystemExit(str(error)) from error
    wanted = [shot for shot in shots if job.only is None or job.only in shot.name]
    if not wanted:
        names = ", ".join(shot.name for shot in shots)
        raise SystemExit(f"no clip contains '{job.only}'; there are: {names}")
    with tempfile.TemporaryDirectory() as aside:
        run_job(job, wanted, job.keep or Path(aside))


if __name__ == "__main__":
    main()
