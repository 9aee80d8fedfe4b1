"""What one iteration of the solver moves and computes, and what a GPU of some bandwidth would need at least.

    python -m benchmarks.iteration [--gpu-bandwidth GB/s] [--repeats N]

An iteration is `recon4d.optim.solve.solver.attempt`: a damped step and the normal equations where it leads. Bytes are
those of the inputs and outputs of every operator (views move nothing); floating-point operations are those of products
of matrices, of the banded factorisation, and one per output number of any other operator. The least that any
implementation moves is one pass over the measurements and the state. The times of a GPU are predictions from bytes and
bandwidth, not measured; they leave out the start of the operators, of which there are enough to matter more.
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    PAGES,
    made_now,
    markdown_table,
    write_whole,
)
from recon4d.core.geometry import exp_se3
from recon4d.optim.objective.camera_terms import SharedFocal, Smoothness
from recon4d.optim.objective.normal_equations import SolveOptions, linearise
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.solve.band import Layout
from recon4d.optim.solve.solver import attempt

PAGE = PAGES / "iteration.md"
LAPTOP_GPU_GBS = 400.0
"""Memory bandwidth of a laptop's GPU of today, GB/s, about; set by hand."""


@dataclass(frozen=True)
class Size:
    """The size of a problem."""

    name: str
    frames: int
    slots: int
    """Partners of every frame."""
    samples: int


SIZES = (
    Size("pairs, 24 frames", 24, 10, 768),
    Size("pairs, 48 frames", 48, 10, 768),
    Size("`recon4d run`, 90 frames of 512x384", 90, 10, 768),
    Size("`recon4d run`, 200 frames of 512x288", 200, 10, 576),
)
"""Pairs are aligned on a grid of 768 samples whatever the size of the images."""


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts bytes of operators' inputs and outputs, operators, and output numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_bytes = self.operators = self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            results = _tensors([out])
            self.num_bytes += sum(t.numel() * t.element_size() for t in _tensors(args) + results)
            self.numbers += sum(t.numel() for t in results)
            self.operators += 1
        return out


def _tensors(items: Any) -> list[Tensor]:
    """All tensors in arguments or results."""
    found = []
    for item in items:
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, list | tuple):
            found += _tensors(item)
    return found


def random_task(size: Size) -> tuple[Problem, State, Freedom, SolveOptions]:
    """A problem whose cost does not depend on what is in it; frames see those around them."""
    g = torch.Generator().manual_seed(0)
    frames, slots, samples = size.frames, size.slots, size.samples
    half = torch.arange(1, slots // 2 + 1)
    offsets = torch.cat((-half, half))
    own = torch.arange(frames)[:, None]
    there = own + offsets
    inside = (there >= 0) & (there < frames)
    uv = torch.rand((frames, 2, samples), generator=g) * 400
    ones = torch.ones((frames, samples))
    problem = Problem(
        samples_px=uv,
        partners=torch.where(inside, there, own),
        targets_px=uv[:, None] + torch.randn((frames, slots, 2, samples), generator=g),
        weight=torch.rand((frames, slots, samples), generator=g) * inside[..., None],
        prior_inverse_depth=ones,
        prior_weight=0.05 * ones,
    )
    state = State(
        exp_se3(0.01 * torch.randn((frames, 6), generator=g).double()),
        0.8 + 0.4 * torch.rand((frames, samples), generator=g),
        torch.tensor([400.0, 400.0, 200.0, 150.0]).double().repeat(frames, 1),
    )
    problem = problem.with_terms(Smoothness(10.0, torch.tensor(1.0)), SharedFocal(400.0))
    options = SolveOptions(kernel_px=0.3, free_focal=True)
    return problem, state, Freedom.all_but_first(frames, torch.device("cpu")), options


def cost_of(size: Size, repeats: int) -> dict[str, float]:
    """Bytes, operations and seconds of one iteration on one thread of the CPU."""
    problem, state, freedom, options = random_task(size)
    layout = Layout.of(problem, options)
    local = linearise(problem, state, freedom, options)

    def iterate() -> None:
        attempt(problem, local, state, freedom, options, 1e-3, layout)

    iterate()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        iterate()
        seconds.append(time.process_time() - begin)
    with FlopCounterMode(display=False) as products:
        iterate()
    with Traffic() as traffic:
        iterate()
    factorisation = layout.size * layout.bandwidth**2
    measurements = [problem.samples_px, problem.targets_px, problem.weight, state.inverse_depth]
    measurements += [problem.prior_inverse_depth, problem.prior_weight, state.inverse_depth]
    return {
        "bytes": traffic.num_bytes,
        "least_bytes": sum(t.numel() * t.element_size() for t in measurements),
        "flops": products.get_total_flops() + traffic.numbers + factorisation,
        "operators": traffic.operators,
        "cpu_seconds": statistics.median(seconds),
    }


def report(rows: dict[str, dict[str, float]], bandwidth_gbs: float) -> str:
    """Return the page."""
    header = (
        "problem", "GB moved", "GB at least", "GFLOP", "operators", "CPU ms (1 thread)",
        f"GPU ms, predicted from {bandwidth_gbs:g} GB/s", "... at least",
    )  # fmt: skip
    table = [
        (
            name,
            f"{row['bytes'] / 1e9:.3f}",
            f"{row['least_bytes'] / 1e9:.4f}",
            f"{row['flops'] / 1e9:.2f}",
            f"{row['operators']:.0f}",
            f"{1e3 * row['cpu_seconds']:.0f}",
            f"{row['bytes'] / bandwidth_gbs / 1e6:.2f}",
            f"{row['least_bytes'] / bandwidth_gbs / 1e6:.3f}",
        )
        for name, row in rows.items()
    ]
    text = (__doc__ or "").split("\n\n", 2)[2]
    return "\n".join(
        [
            "# One iteration of the solver\n",
            f"Made by `python -m benchmarks.iteration --gpu-bandwidth {bandwidth_gbs:g}`. {text}",
            made_now(0) + "\n",
            markdown_table(header, table),
        ]
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_line("iteration", __doc__, repeats=9, out=PAGE)
    parser.add_argument(
        "--gpu-bandwidth", type=float, default=LAPTOP_GPU_GBS, metavar="GB/s", dest="bandwidth"
    )
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    rows = {size.name: cost_of(size, arguments.repeats) for size in SIZES}
    write_whole(arguments.out.with_suffix(".json"), json.dumps(rows, indent=2) + "\n")
    write_whole(arguments.out, report(rows, arguments.bandwidth))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
