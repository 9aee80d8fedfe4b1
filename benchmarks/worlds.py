"""Masks on rendered clips of kinds that no training has seen, through the real command: `python -m benchmarks.worlds`.

The clips are those of `benchmarks.kinds`; the table has one line per kind. Options that are not the benchmark's own are
handed on to `recon4d run`.
"""

import argparse
import hashlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kinds import KINDS
from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    Columns,
    cells,
    markdown_table,
    read_store,
    remarks,
    write_whole,
)
from benchmarks.scores.one_run import run_row, said_of_run, with_run_options
from benchmarks.scores.page import Row, Rows, head, tail
from benchmarks.scores.sheet import write_sheet
from benchmarks.sets.rendered import Clips
from recon4d.core.errors import Recon4DError
from recon4d.evaluate import EvalOptions, compare
from recon4d.evaluate.truth import read_true_mask
from recon4d.results.folder import read_result

CLIPS = 4
"""Of every kind, unless said."""
COLUMNS: Columns = {
    "J": ("jaccard", ".3f"),
    "F": ("contour", ".3f"),
    "J&F": ("both", ".3f"),
    "steady": ("steady", ".3f"),
    "false": ("false", ".2%"),
    "lowest J": ("lowest", ".3f"),
    "seconds": ("seconds", ".0f"),
}
"""Of a kind."""
PER_CLIP = {title: one for title, one in COLUMNS.items() if title != "lowest J"}
"""Of a clip."""
FIGURES = ("jaccard", "contour", "both", "steady", "false", "seconds")
"""Of a clip that a kind has means of."""
EXPLAINED = """\
J, F and J&F: DAVIS's measures, means over the frames of a clip, then over the clips of a kind; a clip that fails counts
as 0. `steady`: overlap (J) of every mask with the one before, carried along the flow. `false`: part of the pixels that
do not move which the masks take. The truth has every visible part of what moves, in all frames, also where it rests;
shadows, reflections, water and leaves are no part of it. Walls are photographs, people and animals what U2-Net small
cuts out of them, the same that trainings with these photographs see: a method that asks U2-Net what is salient is
flattered by their outlines, though not told which of them move. Cars, leaves and thin figures are drawn. Places, ways,
cameras and seeds are of this benchmark alone.
"""


@dataclass(frozen=True)
class Job:
    """What is asked."""

    clips: Clips
    names: tuple[tuple[str, int], ...]
    """Kind and number of every clip."""
    options: tuple[str, ...]
    """Of `recon4d run`."""
    weights: Path | None
    """Of D2MIF; None: those that ship."""
    page: Path
    jobs: int
    keep: Path | None = None
    """Where results stay; None: they do not."""
    resume: bool = False

    @property
    def settings(self) -> dict[str, object]:
        """What all rows of one page must share."""
        digest = None
        if self.weights is not None:
            digest = hashlib.sha256(self.weights.read_bytes()).hexdigest()
        return {
            "options": list(self.options),
            "weights": digest,
            "clips": self.clips.fingerprint,
        }

    @property
    def command(self) -> str:
        """The command line of the benchmark, without places of this machine."""
        weights = () if self.weights is None else ("--weights", self.weights.name)
        return shlex.join(["python", "-m", "benchmarks.worlds", *weights, *self.options])


def parse_job(words: Sequence[str], aside: Path) -> Job:
    """Read the command line; words that the benchmark does not know are options of `recon4d run`.

    Args:
        words: Of the command line.
        aside: Where clips are rendered unless said.

    Raises:
        ConfigError: `recon4d run` does not know them either.
    """
    given, options = with_run_options(_parser(), words)
    if given.weights is not None and not given.weights.is_file():
        raise SystemExit(f"{given.weights} is missing; weights of D2MIF were needed")
    return Job(
        clips=Clips(given.rendered or aside / "rendered", given.textures),
        names=tuple((kind, index) for kind in given.kinds for index in range(given.clips)),
        options=options,
        weights=given.weights,
        page=given.out,
        jobs=given.jobs,
        keep=given.keep,
        resume=given.resume,
    )


def _parser() -> argparse.ArgumentParser:
    page = PAGES / "worlds.md"
    parser = command_line("worlds", __doc__, out=page, resume=False)
    parser.allow_abbrev = False
    parser.epilog = "Any other option is one of recon4d run: --masks, --loop, --refine, ..."
    add = parser.add_argument
    add("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS), metavar="KIND")
    add("--clips", type=int, default=CLIPS, metavar="N", help=f"of every kind ({CLIPS})")
    add("--weights", type=Path, metavar="FILE", help="of D2MIF (those that ship)")
    add("--jobs", type=int, default=1, metavar="N", help="runs at the same time (1)")
    text = "folder of photographs (that of the test material)"
    add("--textures", type=Path, default=DEFAULT_ROOT / "textures", metavar="DIR", help=text)
    text = "keep the rendered clips here, and use those that are there"
    add("--rendered", type=Path, metavar="DIR", help=text)
    add("--keep", type=Path, metavar="DIR", help="keep the results here, and a sheet of previews")
    return parser


def run_clip(job: Job, kind: str, index: int, folder: Path) -> Row:
    """Render a clip, reconstruct it and score its masks; a failure becomes a row like any other."""
    name = f"{kind}-{index}"
    clip, result, unsaid = job.clips.clip(kind, index), folder / name, []
    if job.weights is not None:
        unsaid += ["--weights", f"d2mif={job.weights.resolve()}"]
    if job.jobs > 1 and "--workers" not in job.options:
        unsaid += ["--workers", str(max(len(os.sched_getaffinity(0)) // job.jobs, 1))]
    figures = partial(score, result, clip)
    row = run_row(name, clip / "rgb", result, job.options, figures, unsaid, clip)
    return {"kind": kind} | row


def score(result: Path, clip: Path) -> Row:
    """The figures of a result's masks beside the clip's true ones."""
    masks = compare(result, clip, EvalOptions()).masks
    assert masks is not None, "a clip has true masks"
    found = read_result(result)
    true = np.stack([read_true_mask(clip / "mask" / f"{Path(s).stem}.png") for s in found.sources])
    return said_of_run(found.run) | {
        "jaccard": masks.jaccard,
        "contour": masks.contour,
        "both": (masks.jaccard + masks.contour) / 2,
        "steady": masks.steady,
        "false": float(found.is_dynamic[~true].mean()),
        "moving": float(true.mean()),
    }


def by_kind(rows: Rows) -> dict[str, Row]:
    """Means over the clips of every kind; a clip without masks counts as 0, but not where nothing was said."""
    found = {}
    for kind in KINDS:
        clips = [row for row in rows.values() if row["kind"] == kind]
        if clips:
            found[kind] = _means(clips)
    return found


def _means(rows: Iterable[Mapping[str, Any]]) -> Row:
    rows = list(rows)
    found: Row = {"clips": sum(row.get("clips", 1) for row in rows)}
    for key in FIGURES:
        lost = 0.0 if key in ("jaccard", "contour", "both") else None
        values = [row.get(key, lost) for row in rows]
        known = [value for value in values if value is not None]
        found[key] = float(np.mean(known)) if known else None
    found["lowest"] = min(row.get("lowest", row.get("jaccard", 0.0)) for row in rows)
    return found


def report(rows: Rows, command: str) -> str:
    """The page."""
    kinds = by_kind(rows)
    lines = [(kind, str(row["clips"]), *cells(row, COLUMNS)) for kind, row in kinds.items()]
    mean = _means(kinds.values())
    lines.append((f"**mean of {len(kinds)} kinds**", str(mean["clips"]), *cells(mean, COLUMNS)))
    single = [
        (name, f"{row.get('moving', 0):.1%}", str(row.get("motion", "-")), *cells(row, PER_CLIP))
        for name, row in rows.items()
    ]
    parts = [
        *head("Masks on rendered kinds of clips", command, rows, ()),
        f"\n{EXPLAINED}",
        markdown_table(("kind", "clips", *COLUMNS), lines),
        "## Clips\n",
        markdown_table(("clip", "moves", "motion", *PER_CLIP), single),
        *tail(rows, "Failures and warnings", remarks(rows)),
    ]
    return "\n".join(parts) + "\n"


def run_job(job: Job, folder: Path) -> None:
    """Run the clips, writing what is known after each; results go to the folder."""
    store = job.page.with_suffix(".json")
    rows = read_store(store, job.settings) if job.resume else {}
    order = [f"{kind}-{index}" for kind, index in job.names]
    missing = [
        (kind, index)
        for (kind, index), name in zip(job.names, order, strict=True)
        if name not in rows or "failure" in rows[name]
    ]
    with ThreadPoolExecutor(job.jobs) as pool:
        asked = {
            pool.submit(run_clip, job, kind, index, folder): f"{kind}-{index}"
            for kind, index in missing
        }
        for done in as_completed(asked):
            rows[asked[done]] = done.result()
            print(f"{asked[done]}: {rows[asked[done]]}", flush=True)
            rows = dict(sorted(rows.items(), key=lambda item: _place(item[0])))
            _write(job, rows)
    if not missing:
        _write(job, rows)
    if job.keep is not None:
        write_sheet(job.keep / "previews.png", {name: _shown(job.keep, name) for name in order})
    print(f"wrote {job.page} and {store}")


def _write(job: Job, rows: Rows) -> None:
    """The page, and its numbers beside it."""
    whole = {"settings": job.settings, "rows": rows}
    write_whole(job.page.with_suffix(".json"), json.dumps(whole, indent=2) + "\n")
    write_whole(job.page, report(rows, job.command))


def _place(name: str) -> tuple[int, int]:
    """Of a clip among all."""
    kind, _, index = name.rpartition("-")
    return list(KINDS).index(kind), int(index)


def _shown(folder: Path, name: str) -> Path | str:
    preview = folder / name / "preview.png"
    return preview if preview.is_file() else "no result"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    with tempfile.TemporaryDirectory() as aside:
        try:
            job = parse_job(sys.argv[1:] if words is None else words, Path(aside))
            run_job(job, job.keep or Path(aside))
        except Recon4DError as error:
            raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
