"""Seconds, memory and arithmetic of the networks at their real size, with random weights.

    python -m benchmarks.backbones [--models dust3r,align3r] [--size 512x288] [--frames N] [--pairs N] [--device cuda]

Every network runs in a process of its own, which is measured from outside, with the sizes of the released weights (a
ViT-L encoder) and weights made in memory. Images are random; what a network computes does not depend on them. A
clip's frames go through the encoder in one call and the pairs through the decoder in another, in the batches that
`recon4d` makes. What it keeps of pairs goes into memory-mapped files as in a run (every second pixel, 32 bits), for
600 pairs whatever number is computed, so that the memory has their pages in it. Seconds are the processor's on one
thread of a CPU, which others' programs do not lengthen, and those of the wall on a GPU; one image or pair goes
before, and is not in them. Operations are those of products of matrices, convolutions and attention, counted in that
first pass. The arithmetic limit is the fastest of several products of two large matrices in the same process, in the
precision of the transformers: 32 bits on a CPU, 16 on a GPU (whose heads compute in 32).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    PAGES,
    made_lines,
    markdown_table,
    measure,
    number,
    provenance,
    read_rows,
    to_json,
    write_whole,
)
from benchmarks.measure.networks import KEPT_PAIRS, MATRIX, NETWORKS, Work, costs
from recon4d.flow import window_pairs

PAGE = PAGES / "backbones.md"
LIMIT_MB = 12_000.0
"""What encoder, decoder and files of a clip may take together, MB; this and the next were set by hand."""
TIME_LIMIT_S = 4 * 3600.0
"""A measurement that takes longer is listed as a failure."""


def measured(name: str, work: Work) -> dict[str, Any]:
    """One network in a process of its own, seen from outside.

    Raises:
        SystemExit: It fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        words = [f"--models={name}", f"--inside={answer}", *_words(work)]
        seen = measure([sys.executable, "-m", "benchmarks.backbones", *words], TIME_LIMIT_S)
        if seen.exit_code:
            raise SystemExit(f"{name} ended with {seen.exit_code}: {seen.last_words}")
        row: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    whole = {"peak_rss_mb": seen.peak_rss_mb, "seconds": seen.seconds}
    return {**row, **whole, **_work(work), **provenance(0)}


def _words(work: Work) -> list[str]:
    width, height = work.size
    shown = {"size": f"{width}x{height}", "frames": work.frames, "pairs": work.pairs}
    return [f"--{name}={value}" for name, value in {**shown, "device": work.device}.items()]


def _work(work: Work) -> dict[str, Any]:
    return {"size": list(work.size), "device": work.device}


def inside(name: str, work: Work, answer: Path) -> None:
    """What the process of one network does."""
    torch.set_num_threads(1)
    found = costs(NETWORKS[name], work, answer.parent)
    write_whole(answer, json.dumps(found))


def row_name(name: str, work: Work) -> str:
    """A network at a size on a device."""
    return f"{name}, {work.size[0]}x{work.size[1]}, {work.device}"


def times_table(rows: dict[str, dict[str, Any]]) -> str:
    """Seconds and operations, per image, per pair, and per whatever else a network has."""
    header = ("network", "of each", "number", "s", "GFLOP", "GFLOP/s", "limit, GFLOP/s", "share")
    table = []
    for name, row in rows.items():
        for stage in row["stages"]:
            speed = stage["gflop"] / stage["seconds"]
            table.append(
                (
                    name,
                    stage["unit"],
                    f"{stage['count']}",
                    f"{stage['seconds']:.4g}",
                    f"{stage['gflop']:.1f}",
                    f"{speed:.0f}",
                    f"{row['peak_gflops']:.0f}",
                    f"{speed / row['peak_gflops']:.0%}",
                )
            )
    return markdown_table(header, table)


def memory_table(rows: dict[str, dict[str, Any]]) -> str:
    """Memory, files, and the time of the whole process."""
    header = (
        "network", "parameters, M", "peak memory, MB", "below 12 GB", "peak of the device, MB",
        f"files of {KEPT_PAIRS} pairs, MB", "... of all pixels, MB", "whole process, s",
    )  # fmt: skip
    table = [
        (
            name,
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['peak_rss_mb']:.0f}",
            "yes" if row["peak_rss_mb"] < LIMIT_MB else "no",
            number(row["device_mb"], ".0f"),
            f"{row['stored_mb']:.0f}",
            f"{row['full_mb']:.0f}",
            f"{row['seconds']:.0f}",
        )
        for name, row in rows.items()
    ]
    return markdown_table(header, table)


def report(rows: dict[str, dict[str, Any]]) -> str:
    """Return the page."""
    text = (__doc__ or "").split("\n\n", 2)[2]
    return "\n".join(
        [
            "# The networks at their real size\n",
            f"Made by `python -m benchmarks.backbones`. {text}",
            *made_lines(rows),
            "",
            times_table(rows),
            "Peak memory is the largest resident set of the process: interpreter, weights, images, tokens, one batch, "
            "and the pages of the files. The time of the whole process is the wall's, on a machine that others may "
            "use.\n",
            memory_table(rows),
        ]
    )


def image_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT."""
    width, height = (int(word) for word in text.split("x"))
    return width, height


def chosen(names: str, work: Work) -> list[str]:
    """Networks by their names.

    Raises:
        SystemExit: One is unknown, or there are not as many pairs.
    """
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in NETWORKS]
    if unknown:
        raise SystemExit(f"unknown networks {unknown}; known are {', '.join(NETWORKS)}")
    there = len(window_pairs(work.frames))
    if not 0 < work.pairs <= min(there, KEPT_PAIRS):
        raise SystemExit(
            f"{work.pairs} pairs of {work.frames} frames were asked for; there are {there}, and "
            f"{KEPT_PAIRS} are kept: give fewer --pairs, at least 1, or more --frames"
        )
    return wanted


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_line("backbones", __doc__, frames=65, pairs=20, out=PAGE)
    add = parser.add_argument
    add("--models", default=",".join(NETWORKS), metavar="NAME,...")
    add("--size", type=image_size, default=(512, 288), metavar="WIDTHxHEIGHT")
    add("--device", choices=tuple(MATRIX), default="cpu")
    add("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    work = Work(given.frames, given.pairs, given.size, given.device)
    names = chosen(given.models, work)
    if given.inside is not None:
        inside(names[0], work, given.inside)
        return
    store = given.out.with_suffix(".json")
    rows: dict[str, dict[str, Any]] = read_rows(store)
    for name in names:
        rows[row_name(name, work)] = measured(name, work)
        write_whole(store, to_json(rows))
        write_whole(given.out, report(rows))
        print(f"{name}: wrote {given.out}")


if __name__ == "__main__":
    main()
