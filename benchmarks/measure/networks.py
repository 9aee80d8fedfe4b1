"""The networks at their real size, and what their work costs in the process that does it.

Numbers here that name no source were set by hand.
"""

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

from recon4d.core.arrays import create_array
from recon4d.core.scene import FLOW_STRIDE
from recon4d.flow import window_pairs
from recon4d.networks.croco.align3r import Align3R
from recon4d.networks.croco.config import CrocoConfig
from recon4d.networks.croco.network import Croco, View
from recon4d.networks.croco.pairs import PairInference, decode_pairs, encode_images

KEPT_PAIRS = 600
"""Pairs of a clip of 65 frames, both directions of five offsets, rounded up."""
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
