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
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

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
from recon4d.core.arrays import create_array
from recon4d.core.scene import FLOW_STRIDE
from recon4d.flow import window_pairs
from recon4d.networks.croco.align3r import Align3R
from recon4d.networks.croco.config import CrocoConfig
from recon4d.networks.croco.network import Croco, View
from recon4d.networks.croco.pairs import PairInference, decode_pairs, encode_images

PAGE = PAGES / "backbones.md"
KEPT_PAIRS = 600
"""Pairs of a clip of 65 frames, both directions of five offsets, rounded up."""
LIMIT_MB = 12_000.0
"""What encoder, decoder and files of a clip may take together."""
TIME_LIMIT_S = 4 * 3600.0
MATRIX = {"cpu": 2048, "cuda": 8192}
"""Sides of the matrices that measure the arithmetic limit."""
PRODUCTS = 8
"""Products that are timed; the fastest counts."""


@dataclass(frozen=True)
class Work:
    """What a network is given."""

    frames: int
    pairs: int
    size: tuple[int, int]
    """(width, height) in pixels."""
    device: str

    @property
    def half(self) -> bool:
        """Whether transformers compute in 16 bits, as in a run."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Stage:
    """One part of a network's work, whose cost grows with the number of something."""

    unit: str
    """Of what, e.g. `image`."""
    count: int
    run: Callable[[], Iterable[tuple[Tensor, ...]]]
    """Does the work; gives what is kept of every unit as maps (height, width, ...), or nothing."""
    kept: int = 0
    """For how many units there is room in the files."""


@dataclass(frozen=True)
class Network:
    """An entry of the benchmark."""

    build: Callable[[], nn.Module]
    """Random weights of the released size, on the CPU."""
    stages: Callable[[Any, Work], tuple[Stage, ...]]
    """What is timed, in order; a later stage may need what an earlier one did."""


@dataclass(frozen=True)
class Cost:
    """Of a stage; all numbers are per unit."""

    unit: str
    count: int
    seconds: float
    gflop: float


def croco_stages(network: Croco, work: Work) -> tuple[Stage, ...]:
    """Encode the images once each, decode pairs."""
    g = torch.Generator().manual_seed(0)
    width, height = work.size
    images = torch.rand((work.frames, 3, height, width), generator=g) * 2 - 1
    points = (
        torch.rand((work.frames, height, width, 3), generator=g)
        if network.config.point_cloud
        else None
    )
    edges = [(int(n), int(m)) for n, m in window_pairs(work.frames)[: work.pairs]]
    options = PairInference(half=work.half)
    views: list[View] = []

    def encode() -> tuple[tuple[Tensor, ...], ...]:
        views.append(encode_images(network, images, options, points))
        return ()

    def decode() -> Iterator[tuple[Tensor, ...]]:
        for found in decode_pairs(network, views[-1], edges, options):
            yield found.points1, found.points2, found.confidence1, found.confidence2

    return Stage("image", work.frames, encode), Stage("pair", len(edges), decode, KEPT_PAIRS)


NETWORKS = {
    "dust3r": Network(lambda: Croco(CrocoConfig()), croco_stages),
    "align3r": Network(lambda: Align3R(CrocoConfig(point_cloud=True)), croco_stages),
}
"""By the name on the command line; MonST3R's network is DUSt3R's."""


class Files:
    """Memory-mapped files that get what is kept of a stage's units."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self.room = folder, room
        self.arrays: list[np.memmap[Any, np.dtype[Any]]] = []
        self.full_bytes = 0
        """What the same number of units takes where no pixel is left out."""

    def put(self, index: int, step: int, found: Sequence[Tensor]) -> None:
        """Write one unit at `index` and, so that the room is filled, every `step` places from there."""
        maps = [x[::FLOW_STRIDE, ::FLOW_STRIDE].cpu().numpy() for x in found]
        if not self.arrays:
            self.full_bytes = self.room * sum(x.numel() * x.element_size() for x in found)
            self.arrays = [
                create_array(self.folder / f"{i}.npy", x.dtype.type, (self.room, *x.shape))
                for i, x in enumerate(maps)
            ]
        for array, values in zip(self.arrays, maps, strict=True):
            array[index::step] = values

    @property
    def stored_bytes(self) -> int:
        """Size of all files without headers."""
        return sum(array.nbytes for array in self.arrays)


def attention_flops(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    """Of the CPU's attention, which torch does not count: two products over queries and keys."""
    batch, heads, queries, channels = q
    return int(2 * batch * heads * queries * k[-2] * (channels + v[-1]))


def count_flops(run: Callable[[], object]) -> int:
    """Operations of products of matrices, convolutions and attention, one for a product and one for a sum."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={kernel: attention_flops}) as counter:
        run()
    return int(counter.get_total_flops())


def clock_s(device: str) -> float:
    """The processor's time on a CPU; the wall's on a GPU, after its work is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def exhaust(stage: Stage, files: Files | None = None) -> None:
    """Do a stage's work, and keep what is to be kept."""
    for index, found in enumerate(stage.run()):
        if files is not None:
            files.put(index, stage.count, found)


@torch.no_grad()
def peak_gflops(work: Work) -> float:
    """The arithmetic limit: a product of two large matrices, the fastest of some."""
    side = MATRIX[work.device]
    kind = torch.float16 if work.half else torch.float32
    a, b = (torch.rand((side, side), dtype=kind, device=work.device) for _ in range(2))
    seconds = []
    for _ in range(PRODUCTS):
        begin_s = clock_s(work.device)
        a @ b
        seconds.append(clock_s(work.device) - begin_s)
    return 2 * side**3 / min(seconds) / 1e9


@torch.no_grad()
def costs(network: Network, work: Work, folder: Path) -> dict[str, Any]:
    """Do the work, and say what it took; in the process that is measured."""
    torch.manual_seed(0)
    built = network.build().eval().to(work.device)
    first = [
        count_flops(partial(exhaust, stage)) / stage.count / 1e9
        for stage in network.stages(built, replace(work, frames=min(2, work.frames), pairs=1))
    ]
    limit = peak_gflops(work)
    found, files = [], []
    for stage, gflop in zip(network.stages(built, work), first, strict=True):
        (place := folder / stage.unit).mkdir()
        files.append(Files(place, stage.kept))
        begin_s = clock_s(work.device)
        exhaust(stage, files[-1] if stage.kept else None)
        found.append(Cost(stage.unit, stage.count, _each(stage, begin_s, work.device), gflop))
    return {
        "parameters": sum(p.numel() for p in built.parameters()),
        "peak_gflops": limit,
        "stages": [asdict(cost) for cost in found],
        "stored_mb": sum(f.stored_bytes for f in files) / 1e6,
        "full_mb": sum(f.full_bytes for f in files) / 1e6,
        "device_mb": torch.cuda.max_memory_allocated() / 1e6 if work.device == "cuda" else None,
    }


def _each(stage: Stage, begin_s: float, device: str) -> float:
    return (clock_s(device) - begin_s) / stage.count


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
