"""Motion masks on public test sets, through the real command: `python -m benchmarks.masks`.

Words after `--` are further options of `recon4d run`. Finished sequences are kept in OUT/results.json and are not run
again.
"""

import argparse
import dataclasses
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.masks_parts.report import Page, report
from benchmarks.masks_parts.score import failed, score_video
from benchmarks.measure.common import (
    data_root,
    measure,
    provenance,
    read_store,
    recon4d,
    without_places,
    write_whole,
)
from recon4d.cli.parser import parse
from recon4d.core.errors import Recon4DError
from recon4d.io.pictures.files import write_image
from recon4d.masks.train.datasets import BENCHMARKS, LabelledVideo, read_dataset
from recon4d.results.folder import read_result
from recon4d.settings.config import CHOICES

OWN_OPTIONS = ("--masks", "--seed", "--out", "--overwrite", "--resume")
"""Options of `recon4d run` that the benchmark gives itself."""


@dataclass(frozen=True)
class Job:
    """What is measured, and where it goes."""

    dataset: str
    root: Path
    out: Path
    masks: str
    seed: int
    further: tuple[str, ...] = ()
    """Further options of `recon4d run`."""
    predictions: Path | None = None
    """Folder of masks that exist; None where they are made."""
    names: tuple[str, ...] | None = None
    """Sequences; None means the data set's list."""

    @property
    def options(self) -> tuple[str, ...]:
        """Words of `recon4d run` after the input, without the result's place."""
        return ("--masks", self.masks, "--seed", str(self.seed), *self.further)

    @property
    def settings(self) -> dict[str, object]:
        """What all rows of one folder must share."""
        how: dict[str, object] = {"options": list(self.options)}
        if self.predictions is not None:
            how = {"predictions": self.predictions.resolve().name}
        return {"dataset": self.dataset, **how}

    @property
    def command(self) -> str:
        """The command line of the whole benchmark, without places of this machine."""
        words = ["python -m benchmarks.masks --dataset", self.dataset, "--root DATA"]
        words += ["--sequences", *self.names] if self.names is not None else []
        if self.predictions is not None:
            return " ".join([*words, "--predictions", self.predictions.resolve().name])
        words += ["--masks", self.masks, "--seed", str(self.seed)]
        return " ".join([*words, "--", shlex.join(self.further)] if self.further else words)


def measure_video(job: Job, video: LabelledVideo) -> dict[str, Any]:
    """Make or find the masks of a sequence and compare them; a failure becomes a row like any other."""
    if job.predictions is not None:
        row = provenance(None) | {"command": job.command}
        return row | _scored(job, video, job.predictions / video.name)
    source = video.frames[0].parent
    words = ("recon4d run", f"DATA/{source.relative_to(job.root)}", *job.options)
    row = provenance(job.seed) | {"command": " ".join(words)}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        measured = measure(recon4d("run", str(source), *job.options, "--out", str(result)))
        row |= {"seconds": measured.seconds, "peak_rss_mb": measured.peak_rss_mb}
        if measured.exit_code != 0:
            failure = measured.failure(job.root, Path(folder))
            return row | dataclasses.asdict(failed(video)) | {"failure": failure}
        try:
            row |= {"warnings": keep_masks(result, job.out / "predictions" / video.name)}
        except Recon4DError as error:
            failure = without_places(str(error), job.root, Path(folder))
            return row | dataclasses.asdict(failed(video)) | {"failure": failure}
    return row | _scored(job, video, job.out / "predictions" / video.name)


def _scored(job: Job, video: LabelledVideo, folder: Path) -> dict[str, Any]:
    try:
        return dataclasses.asdict(score_video(video, folder))
    except Recon4DError as error:
        text = str(error).replace(str(folder.parent), folder.parent.name)
        failure = without_places(text, job.root, job.out)
        return dataclasses.asdict(failed(video)) | {"failure": failure}


def keep_masks(result: Path, folder: Path) -> list[str]:
    """Store the masks of a result under the names of its frames and return the codes of its warnings.

    Raises:
        InputError: The result cannot be read.
    """
    reconstruction = read_result(result)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for source, is_dynamic in zip(reconstruction.sources, reconstruction.is_dynamic, strict=True):
        levels = is_dynamic.astype(np.uint8) * np.uint8(255)
        write_image(folder / f"{Path(source).stem}.png", levels)
    run = json.loads((result / "run.json").read_text(encoding="utf-8"))
    return [warning["code"] for warning in run.get("warnings", [])]


def benchmark(job: Job) -> Page:
    """Measure all sequences that are not finished, writing what is known after each."""
    dataset = read_dataset(job.dataset, job.root, job.names)
    store = job.out / "results.json"
    rows = read_store(store, job.settings)
    asked = [video.name for video in dataset.videos]
    method = "recon4d" if job.predictions else f"recon4d, {job.masks}"
    page = Page(job.dataset, job.command, {}, len(asked), dataset.notes, method)
    for video in dataset.videos:
        is_finished = video.name in rows and "failure" not in rows[video.name]
        if job.predictions is not None or not is_finished:
            print(f"{video.name} ...", flush=True)
            rows[video.name] = measure_video(job, video)
        done = {name: rows[name] for name in asked[: asked.index(video.name) + 1]}
        page = dataclasses.replace(page, rows=done)
        averages = {n: dataclasses.asdict(a) for n, a in page.averages().items()}
        kept = {"settings": job.settings, "command": job.command, "notes": dataset.notes}
        whole = {**kept, "sequences": list(done), "averages": averages, "rows": rows}
        write_whole(store, json.dumps(whole, indent=1) + "\n")
        write_whole(job.out / "results.md", report(page))
    return page


def parse_job(words: Sequence[str]) -> Job:
    """Read the command line; raise a `ConfigError` or end the program where every sequence would fail."""
    at = list(words).index("--") if "--" in words else len(words)
    arguments = _parser().parse_args(words[:at])
    job = Job(
        dataset=arguments.dataset,
        root=data_root(arguments.root),
        out=arguments.out or Path(f"masks_{arguments.dataset}"),
        masks=arguments.masks,
        seed=arguments.seed,
        further=tuple(words[at + 1 :]),
        predictions=arguments.predictions,
        names=None if arguments.sequences is None else tuple(arguments.sequences),
    )
    _check(job)
    return job


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.masks", description=__doc__)
    parser.add_argument("--dataset", required=True, choices=tuple(BENCHMARKS))
    parser.add_argument(
        "--root", required=True, type=Path, metavar="DIR", help="the data set as it is unpacked"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="results (./masks_DATASET)")
    parser.add_argument("--sequences", nargs="+", metavar="NAME", help="these, not the whole list")
    parser.add_argument(
        "--masks", default=CHOICES["masks"].now[0], metavar="METHOD", help="of recon4d run"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="score the masks DIR/SEQ/STEM.png (non-zero = moving) and run nothing",
    )
    return parser


def _check(job: Job) -> None:
    """Refuse what would fail in every sequence."""
    own = [w for w in job.further if w.partition("=")[0] in OWN_OPTIONS]
    if own:
        raise SystemExit(f"{own[0]} after -- is the benchmark's own; give it before --, or not")
    if job.predictions is not None and not job.predictions.is_dir():
        raise SystemExit(f"{job.predictions} is missing; a folder of SEQ/STEM.png was needed")
    CHOICES["masks"].check("--masks", job.masks)
    parse(["run", "INPUT", *job.options])


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    try:
        job = parse_job(sys.argv[1:] if words is None else words)
        page = benchmark(job)
    except Recon4DError as error:
        raise SystemExit(str(error)) from error
    for name, average in page.averages().items():
        print(
            f"{name}: J {average.jaccard:.3f}, recall {average.jaccard_recall:.3f}, F {average.contour:.3f}"
        )
    print(f"wrote {job.out / 'results.md'} and {job.out / 'results.json'}")


if __name__ == "__main__":
    main()
