"""What the benchmarks of poses and of depth measure: their command line, which they share."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.command import command_line
from benchmarks.measure.common import data_root
from benchmarks.scores.run import Job
from benchmarks.sets.protocols import NAMES, Protocol, datasets, protocol_of
from benchmarks.sets.recordings import Task
from recon4d.cli.commands import run_config
from recon4d.cli.parser import parse
from recon4d.core.errors import ConfigError
from recon4d.settings.config import RunConfig

REFUSED = (
    *("--out", "--overwrite", "--resume", "--config", "--max-frames"),
    *("--stride", "--fps", "--start", "--seed"),
)
"""Options of `recon4d run` that are the benchmark's own, or would change the protocol's frames."""


@dataclass(frozen=True, kw_only=True)
class GeometryJob(Job):
    """Poses or depth in a protocol."""

    task: Task
    protocol: Protocol
    options: tuple[str, ...]
    """Words of `recon4d run` after the input, without the result's place and the seed."""
    max_frames: int | None = None
    """Only the first of the protocol's frames; then nothing is comparable with publications."""
    depth_scale: str | None = None
    """How depth is aligned, of the protocol's `fits`."""
    keep: bool = False
    """Keep the results in `OUT/results`."""

    @property
    def run_options(self) -> tuple[str, ...]:
        """All options of `recon4d run` but the result's place."""
        return ("--seed", str(self.seed), *self.options)

    @property
    def uses_sensor_depth(self) -> bool:
        """True where the runs are given the sensor's depth."""
        return self.given is None and _run_config(self).geometry == "rgbd"

    @property
    def settings(self) -> dict[str, object]:
        """What all rows of one folder must share."""
        how: dict[str, object] = {"options": list(self.run_options)}
        if self.given is not None:
            how = {"results": self.given.name}
        protocol = {"dataset": self.protocol.dataset, "protocol": self.protocol.name}
        further = {"max_frames": self.max_frames, "depth_scale": self.depth_scale}
        return {"task": self.task, **protocol, **further, **how}

    @property
    def command(self) -> str:
        """The command line of the whole benchmark, without places of this machine."""
        words = ["python", "-m", f"benchmarks.{self.task}", "--dataset", self.protocol.dataset]
        words += ["--root", "DATA", "--protocol", self.protocol.name]
        words += ["--depth-scale", self.depth_scale] if self.depth_scale is not None else []
        words += ["--sequences", *self.names] if self.names is not None else []
        words += ["--max-frames", str(self.max_frames)] if self.max_frames is not None else []
        how = self.run_options if self.given is None else ("--results", self.given.name)
        return shlex.join([*words, *how])


def divided(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The words before `--`, and those after it, which are options of `recon4d run`."""
    at = list(words).index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def set_command_line(
    name: str, description: str | None, names: Sequence[str], out: str
) -> argparse.ArgumentParser:
    """Begin the command line of a benchmark on the sequences of a data set.

    Args:
        name: Of the benchmark.
        description: What it does.
        names: Data sets.
        out: Where results go unless said.
    """
    parser = command_line(name, description, seed=0)
    add = parser.add_argument
    add("--dataset", required=True, choices=names)
    add("--root", required=True, type=data_root, metavar="DIR", help="data set as it is unpacked")
    add("--sequences", nargs="+", metavar="NAME", help="these, not the whole list")
    add("--out", type=Path, metavar="FOLDER", help=f"results (./{out})")
    return parser


def parse_job(task: Task, words: Sequence[str], description: str | None) -> GeometryJob:
    """Read the command line; words that the benchmark does not know are options of `recon4d run`.

    Raises:
        ConfigError: Every sequence would fail.
    """
    own, further = divided(words)
    arguments, options = _parser(task, description).parse_known_args(own)
    protocol = protocol_of(arguments.dataset, arguments.protocol, task)
    job = GeometryJob(
        task=task,
        protocol=protocol,
        root=arguments.root,
        out=arguments.out or Path(f"{task}_{arguments.dataset}_{protocol.name}"),
        options=(*options, *further),
        seed=arguments.seed,
        names=None if arguments.sequences is None else tuple(arguments.sequences),
        max_frames=arguments.max_frames,
        depth_scale=_depth_scale(protocol, arguments) if task == "depth" else None,
        given=None if arguments.results is None else arguments.results.resolve(),
        keep=arguments.keep,
    )
    _check(job)
    return job


def _parser(task: Task, description: str | None) -> argparse.ArgumentParser:
    parser = set_command_line(task, description, datasets(task), f"{task}_DATASET_PROTOCOL")
    parser.allow_abbrev = False
    parser.epilog = (
        "Any other option is one of recon4d run: --masks, --geometry, --size, --loop, ..."
    )
    add = parser.add_argument
    add("--protocol", choices=NAMES, help="whose (monst3r; tumlike: all)")
    if task == "depth":
        add("--depth-scale", metavar="sequence|scale_shift|none", help="alignment of the depth")
    add("--max-frames", type=int, metavar="N", help="only the first N of the protocol's frames")
    add("--keep", action="store_true", help="keep the results of the runs in FOLDER/results")
    add("--results", type=Path, metavar="DIR", help="score the results DIR/SEQ and run nothing")
    return parser


def _depth_scale(protocol: Protocol, arguments: argparse.Namespace) -> str:
    """The alignment that was asked for, or the protocol's first."""
    assert protocol.depth is not None
    fits = protocol.depth.fits
    wanted: str = next(iter(fits)) if arguments.depth_scale is None else arguments.depth_scale
    if wanted not in fits:
        raise ConfigError(
            f"--depth-scale {wanted} is not in the protocol {protocol.name} on {protocol.dataset}; available there: "
            f"{', '.join(fits)}"
        )
    return wanted


def _check(job: GeometryJob) -> None:
    """Refuse what would fail in every sequence."""
    for word in job.options:
        if word.partition("=")[0] in REFUSED:
            raise ConfigError(
                f"{word} is the benchmark's own, or changes the protocol's frames; give it before --, or leave it out"
            )
    if job.max_frames is not None and job.max_frames < 2:
        raise ConfigError(f"--max-frames must be at least 2, got {job.max_frames}")
    if job.given is not None and job.options:
        raise ConfigError(
            f"--results runs nothing, so that {job.options[0]} has no effect; leave one of the two out"
        )
    if job.given is not None and not job.given.is_dir():
        raise ConfigError(f"--results {job.given} is missing; a folder of SEQ/ was needed")
    config = _run_config(job)
    if (config.fps, config.stride, config.start, config.max_frames) != (None, 1, 0.0, None):
        raise ConfigError(
            "the protocol says which frames are used; leave fps, stride, start and max_frames out of --set"
        )


def _run_config(job: GeometryJob) -> RunConfig:
    return run_config(parse(["run", "INPUT", *job.run_options]))
