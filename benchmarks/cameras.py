"""Cameras as they are, through the real command: `python -m benchmarks.cameras`.

Sequences with exact truth are seen anew through lenses, through shutters that roll, and cut out; each is reconstructed
with nothing told of the camera, and with all of it told, and by COLMAP where pycolmap is installed. Options that are
not the benchmark's own are handed on to `recon4d run`.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    PROJECT,
    Columns,
    cells,
    data_root,
    markdown_table,
    number,
    read_store,
    remarks,
    write_whole,
)
from benchmarks.peers import colmap
from benchmarks.scores.one_run import SEED, run_row, said_of_run, with_run_options
from benchmarks.scores.page import Row, Rows, head, tail
from benchmarks.scores.stated_cameras import in_sigmas, shares
from recon4d.core.errors import Recon4DError
from recon4d.evaluate import EvalOptions, compare
from recon4d.export.distorted import Lens
from recon4d.export.original import found_lens
from recon4d.io.lens import undistortion
from recon4d.io.pictures.files import list_images, read_image
from recon4d.results.folder import read_result
from recon4d.results.result import Result

FRAMES = 60
"""Of every clip, unless said."""
QUICK = ("--size", "192", "--masks", "none", "--loop", "0")
"""Options of a look whether all of it works."""
QUICK_FRAMES = 12
"""Of every clip there."""
COLUMNS: Columns = {
    "ATE mm": ("ate_mm", ".3f"),
    "focal off": ("focal_off", ".2%"),
    "k1": ("k1", ".4f"),
    "centre off px": ("centre_off_px", ".1f"),
    "readout ms": ("readout_ms", ".2f"),
    "in 1 sigma": ("stated", ".0%"),
    "seconds": ("seconds", ".0f"),
}
THEIRS: Columns = {
    "COLMAP: ATE mm": ("colmap_ate_mm", ".3f"),
    "focal off ": ("colmap_focal_off", ".2%"),
    "k1 ": ("colmap_k1", ".4f"),
}
"""COLMAP's, with SIMPLE_RADIAL."""
EXPLAINED = """\
`told`: `nothing`, or the whole camera (`--intrinsics`, `--readout`). ATE after Sim(3). Focal length, k1 and centre (the
principal point) are those of the pictures as they came, as `recon4d export --images distorted` has them. `in 1 sigma`:
errors of rotation and translation from each frame to the next that are within one stated standard deviation (68 % where
it is right). COLMAP: sequential matching, one camera, told nothing. `-`: there is none.
"""
STATED = """\
What a run says of its camera, over all rows where nothing is told: errors over the standard deviations that it states
(68 % are within one where they are right).
"""


@dataclass(frozen=True)
class Case:
    """A sequence, and the camera that sees it."""

    sequence: str
    make: tuple[str, ...]
    """Options of `make_camera.py`."""
    options: tuple[str, ...] = ()
    """Of `recon4d run`."""

    @property
    def name(self) -> str:
        """Of the sequence, with what the camera is, e.g. `exact_static k1 -0.2`."""
        return " ".join([self.sequence, *(word.removeprefix("--") for word in self.make)])


KS = ("-0.3", "-0.2", "-0.05", "-0.02", "0", "0.1")
"""First radial coefficients."""
RESIDUAL = ("--masks", "residual")
"""Masks of the sequence without movers."""
CASES = (
    *(Case("exact_static", ("--k1", k), RESIDUAL) for k in KS),
    *(Case("exact_static", ("--readout-ms", ms), RESIDUAL) for ms in ("10", "20", "40")),
    Case("exact_static", ("--crop", "240,0,400,480"), RESIDUAL),
    Case("exact_static", ("--crop", "0,55,640,370"), (*RESIDUAL, "--size", "256")),
    *(
        Case(name, ("--k1", k))
        for name in ("exact_dancer", "exact_crowd")
        for k in ("-0.2", "-0.05")
    ),
)
"""The table; one of shutter and lens at a time, as `make_camera.py` makes them."""
QUICK_CASES = (CASES[1], CASES[8])
TOLD = ("nothing", "all")


@dataclass(frozen=True)
class Job:
    """What is asked."""

    root: Path
    tools: Path
    options: tuple[str, ...]
    """Of `recon4d run`, after those of the cases."""
    page: Path
    cases: tuple[Case, ...]
    frames: int
    keep: Path | None = None
    """Where clips and results stay; None: they do not."""
    resume: bool = False
    asks_colmap: bool = True

    @property
    def settings(self) -> dict[str, object]:
        """What all rows of one page must share."""
        return {"options": list(self.options), "frames": self.frames}

    @property
    def command(self) -> str:
        """The command line of the benchmark, without places of this machine."""
        words = ["python", "-m", "benchmarks.cameras", "--frames", str(self.frames)]
        return shlex.join([*words, *self.options])


def parse_job(words: Sequence[str]) -> Job:
    """Read the command line; words that the benchmark does not know are options of `recon4d run`.

    Raises:
        ConfigError: `recon4d run` does not know them either.
    """
    given, options = with_run_options(_parser(), words)
    if not (given.tools / "make_camera.py").is_file():
        raise SystemExit(f"{given.tools} has no make_camera.py; give --tools of the test material")
    cases = QUICK_CASES if given.quick else CASES
    wanted = tuple(case for case in cases if given.only is None or given.only in case.name)
    if not wanted:
        raise SystemExit(
            f"no row contains '{given.only}'; rows: {', '.join(c.name for c in cases)}"
        )
    return Job(
        root=data_root(given.root),
        tools=given.tools,
        options=(*(QUICK if given.quick else ()), *options),
        page=given.out,
        cases=wanted,
        frames=QUICK_FRAMES if given.quick else given.frames,
        keep=given.keep,
        resume=given.resume,
        asks_colmap=colmap.is_there() and not given.alone,
    )


def _parser() -> argparse.ArgumentParser:
    page, tools = PAGES / "cameras.md", PROJECT / "../shared/tools"
    parser = command_line(
        "cameras", __doc__, root=DEFAULT_ROOT, tools=tools, out=page, resume=False
    )
    parser.allow_abbrev = False
    parser.epilog = "Any other option is one of recon4d run: --size, --masks, --loop, ..."
    add = parser.add_argument
    add("--frames", type=int, default=FRAMES, metavar="N", help=f"of every clip ({FRAMES})")
    add("--only", metavar="WORD", help="rows whose name contains this, e.g. 'readout' or 'k1 -0.2'")
    add("--quick", action="store_true", help="two rows of small frames: whether all of it works")
    add("--alone", action="store_true", help="without COLMAP")
    add("--keep", type=Path, metavar="DIR", help="keep clips and results here")
    return parser


def make_clip(job: Job, case: Case, clip: Path) -> None:
    """See a sequence anew."""
    maker = [sys.executable, str(job.tools / "make_camera.py"), str(job.root / case.sequence)]
    words = [*maker, str(clip), *case.make, "--frames", str(job.frames)]
    shutil.rmtree(clip, ignore_errors=True)
    subprocess.run(words, check=True, capture_output=True)


def run_case(job: Job, case: Case, told: str, clip: Path, result: Path) -> Row:
    """Reconstruct a clip and take its figures; a failure becomes a row like any other."""
    options, unsaid = [*case.options, *job.options], []
    if told == "all":
        unsaid = ["--intrinsics", str(clip / "camera.txt")]
        options += ["--readout", f"{1e3 * float((clip / 'readout.txt').read_text()):g}"]
    score = partial(figures, result, clip)
    row = run_row(case.name, clip / "rgb", result, options, score, unsaid, clip)
    return {"case": case.name, "told": told} | row


def figures(result: Path, clip: Path) -> Row:
    """A result beside the truth."""
    found, evaluation = read_result(result), compare(result, clip, EvalOptions())
    assert evaluation.poses is not None, "the clip has true poses"
    row = said_of_run(found.run) | against_camera(found, clip)
    row["ate_mm"] = None if evaluation.poses.ate is None else 1e3 * evaluation.poses.ate
    row["readout_ms"] = found.run.get("readout_ms")
    if evaluation.stated_poses is not None:
        row["stated"] = (evaluation.stated_poses.rotation + evaluation.stated_poses.translation) / 2
    return row


def against_camera(found: Result, clip: Path) -> Row:
    """How far a camera that was found is off the true one, both of the pictures as they came."""
    if found.run.get("focal_source") == "given":
        return {}
    true = np.array([float(word) for word in (clip / "camera.txt").read_text().split()])
    height, width = read_image(list_images(clip / "rgb")[0]).shape[:2]
    scale = np.array([width / found.images.shape[2], height / found.images.shape[1]] * 2)
    intrinsics = np.median(found.intrinsics, axis=0) * scale
    lens, k1 = found_lens(found.run), 0.0
    if lens is not None and not lens.is_pinhole:
        straight = undistortion(lens, (width, height)).camera
        seen = Lens(lens, straight, (width, height)).seen_with(intrinsics)
        intrinsics, k1 = np.array([seen.fx, seen.fy, seen.cx, seen.cy]), seen.distortion[0]
    off = intrinsics[2:] - 0.5 - true[2:4]
    focal_off = float(intrinsics[0] / true[0] - 1)
    readout_ms = 1e3 * float((clip / "readout.txt").read_text())
    return {
        "focal_off": focal_off,
        "k1": float(k1),
        "centre_off_px": float(np.hypot(*off)),
        "in_sigmas": in_sigmas(found.run, (*true[:5].tolist(), readout_ms), focal_off),
    }


def colmap_row(clip: Path, folder: Path) -> Row:
    """COLMAP's figures of the same clip."""
    found = colmap.figures(clip, folder, SEED)
    if "failure" in found:
        return {"colmap_failure": found["failure"]}
    true = float((clip / "camera.txt").read_text().split()[0])
    return {
        "colmap_ate_mm": 1e3 * found["ate"],
        "colmap_focal_off": found["focal_px"] / true - 1,
        "colmap_k1": found["k1"],
        "colmap_posed": found["posed"],
        "colmap_seconds": found["seconds"],
    }


def report(rows: Rows, command: str) -> str:
    """The page."""
    header = ("camera", "told", "posed", *COLUMNS, *(title.strip() for title in THEIRS), "warnings")
    table = markdown_table(header, [_line(row) for row in rows.values()])
    parts = [
        *head("Cameras as they are", command, rows, ()),
        f"\n{EXPLAINED}",
        table,
        f"\n{STATED}",
        shares(rows.values()),
        *tail(rows, "Failures and warnings", [*remarks(rows), *_theirs(rows)]),
    ]
    return "\n".join(parts) + "\n"


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    posed = f"{number(row.get('posed'), 'd')}/{number(row.get('frames'), 'd')}"
    said = ", ".join(row.get("warnings") or ()) or "-"
    return (row["case"], row["told"], posed, *cells(row, COLUMNS), *cells(row, THEIRS), said)


def _theirs(rows: Rows) -> list[str]:
    """Where COLMAP fails."""
    return [f"* {n}: {row['colmap_failure']}" for n, row in rows.items() if "colmap_failure" in row]


def run_job(job: Job, folder: Path) -> None:
    """Run the rows, writing what is known after each; clips and results go to the folder."""
    store = job.page.with_suffix(".json")
    rows = read_store(store, job.settings) if job.resume else {}
    for case in job.cases:
        place = folder / case.name.replace(" ", "_").replace(",", "-")
        missing = [
            told for told in TOLD if "failure" in rows.get(f"{case.name}, {told}", {"failure": 0})
        ]
        if missing:
            make_clip(job, case, place / "clip")
        for told in missing:
            row = run_case(job, case, told, place / "clip", place / told)
            if told == "nothing" and job.asks_colmap:
                shutil.rmtree(place / "colmap", ignore_errors=True)
                row |= colmap_row(place / "clip", place / "colmap")
            rows[f"{case.name}, {told}"] = row
            print(f"{case.name}, {told}: {row}", flush=True)
            write_whole(
                store, json.dumps({"settings": job.settings, "rows": rows}, indent=2) + "\n"
            )
            write_whole(job.page, report(rows, job.command))
    print(f"wrote {job.page} and {store}")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    with tempfile.TemporaryDirectory() as aside:
        try:
            job = parse_job(sys.argv[1:] if words is None else words)
            run_job(job, job.keep or Path(aside))
        except Recon4DError as error:
            raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
