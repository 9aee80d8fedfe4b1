"""Motion masks on public test sets, through the real command: `python -m benchmarks.masks`.

Words after `--` are further options of `recon4d run`. Finished sequences are kept in OUT/results.json and are not run
again.
"""

import dataclasses
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure.common import measure, provenance, recon4d, without_places
from benchmarks.scores.job import divided, set_command_line
from benchmarks.scores.masks import failed, score_video
from benchmarks.scores.masks_page import Page, report
from benchmarks.scores.page import Row, Rows
from benchmarks.scores.run import Benchmark, Job, run_command
from recon4d.cli.parser import parse
from recon4d.core.errors import Recon4DError
from recon4d.io.pictures.files import write_image
from recon4d.masks.train.datasets import BENCHMARKS, LabelledVideo, read_dataset
from recon4d.results.folder import read_result
from recon4d.settings.named import CHOICES

OWN_OPTIONS = ("--masks", "--seed", "--out", "--overwrite", "--resume")
"""Options of `recon4d run` that the benchmark gives itself."""


@dataclass(frozen=True, kw_only=True)
class MasksJob(Job):
    """Masks of a data set."""

    dataset: str
    masks: str
    further: tuple[str, ...] = ()
    """Further options of `recon4d run`."""

    @property
    def options(self) -> tuple[str, ...]:
        """Words of `recon4d run` after the input, without the result's place."""
        return ("--masks", self.masks, "--seed", str(self.seed), *self.further)

    @property
    def settings(self) -> dict[str, object]:
        """What all rows of one folder must share."""
        how: dict[str, object] = {"options": list(self.options)}
        if self.given is not None:
            how = {"predictions": self.given.resolve().name}
        return {"dataset": self.dataset, **how}

    @property
    def command(self) -> str:
        """The command line of the whole benchmark, without places of this machine."""
        words = ["python", "-m", "benchmarks.masks", "--dataset", self.dataset, "--root", "DATA"]
        words += ["--sequences", *self.names] if self.names is not None else []
        if self.given is not None:
            return shlex.join([*words, "--predictions", self.given.resolve().name])
        words += ["--masks", self.masks, "--seed", str(self.seed)]
        return shlex.join([*words, "--", *self.further] if self.further else words)


@dataclass(frozen=True)
class Masks(Benchmark):
    """Masks of the videos of a data set."""

    job: MasksJob
    sequences: Sequence[LabelledVideo]

    def measure(self, sequence: LabelledVideo) -> Row:
        """Make or find the masks of a sequence and compare them; a failure becomes a row like any other."""
        job, video = self.job, sequence
        if job.given is not None:
            row = provenance(None) | {"command": job.command}
            return row | self._scored(video, job.given / video.name)
        source = video.frames[0].parent
        words = ("recon4d run", f"DATA/{source.relative_to(job.root)}", *job.options)
        row = provenance(job.seed) | {"command": " ".join(words)}
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result"
            measured = measure(recon4d("run", str(source), *job.options, "--out", str(result)))
            row |= {"seconds": measured.seconds, "peak_rss_mb": measured.peak_rss_mb}
            if measured.exit_code != 0:
                return row | _lost(video, measured.failure(job.root, Path(folder)))
            try:
                row |= {"warnings": keep_masks(result, job.out / "predictions" / video.name)}
            except Recon4DError as error:
                return row | _lost(video, without_places(str(error), job.root, Path(folder)))
        return row | self._scored(video, job.out / "predictions" / video.name)

    def _scored(self, video: LabelledVideo, folder: Path) -> Row:
        try:
            return dataclasses.asdict(score_video(video, folder))
        except Recon4DError as error:
            text = str(error).replace(str(folder.parent), folder.parent.name)
            return _lost(video, without_places(text, self.job.root, self.job.out))

    def summary(self, rows: Rows) -> Row:
        """Finished sequences that were asked for, and their averages."""
        averages = self._page(rows).averages()
        kept = {name: dataclasses.asdict(average) for name, average in averages.items()}
        return {"sequences": list(rows), "averages": kept}

    def page(self, rows: Rows) -> str:
        """The page about what is finished."""
        return report(self._page(rows))

    def _page(self, rows: Rows) -> Page:
        job = self.job
        method = "recon4d" if job.given else f"recon4d, {job.masks}"
        return Page(job.dataset, job.command, rows, len(self.sequences), self.notes, method)

    def said(self, rows: Rows) -> list[str]:
        """Every average."""
        return [
            f"{name}: J {one.jaccard:.3f}, recall {one.jaccard_recall:.3f}, F {one.contour:.3f}"
            for name, one in self._page(rows).averages().items()
        ]


def _lost(video: LabelledVideo, failure: str) -> Row:
    """A sequence without masks: 0 in every frame."""
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
    warnings = reconstruction.run.get("warnings", [])
    assert isinstance(warnings, list)
    return [warning["code"] for warning in warnings]


def parse_job(words: Sequence[str]) -> MasksJob:
    """Read the command line; raise a `ConfigError` or end the program where every sequence would fail."""
    own, further = divided(words)
    parser = set_command_line("masks", __doc__, tuple(BENCHMARKS), "masks_DATASET")
    add = parser.add_argument
    add("--masks", default=CHOICES["masks"].now[0], metavar="METHOD", help="of recon4d run")
    text = "score the masks DIR/SEQ/STEM.png (non-zero = moving) and run nothing"
    add("--predictions", type=Path, metavar="DIR", help=text)
    arguments = parser.parse_args(own)
    job = MasksJob(
        dataset=arguments.dataset,
        root=arguments.root,
        out=arguments.out or Path(f"masks_{arguments.dataset}"),
        masks=arguments.masks,
        seed=arguments.seed,
        further=tuple(further),
        given=arguments.predictions,
        names=None if arguments.sequences is None else tuple(arguments.sequences),
    )
    _check(job)
    return job


def _check(job: MasksJob) -> None:
    """Refuse what would fail in every sequence."""
    own = [w for w in job.further if w.partition("=")[0] in OWN_OPTIONS]
    if own:
        raise SystemExit(f"{own[0]} after -- is the benchmark's own; give it before --, or not")
    if job.given is not None and not job.given.is_dir():
        raise SystemExit(f"{job.given} is missing; a folder of SEQ/STEM.png was needed")
    CHOICES["masks"].check("--masks", job.masks)
    parse(["run", "INPUT", *job.options])


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""

    def make() -> Masks:
        job = parse_job(sys.argv[1:] if words is None else words)
        dataset = read_dataset(job.dataset, job.root, job.names)
        return Masks(job, dataset.videos, dataset.notes)

    run_command(make)


if __name__ == "__main__":
    main()
