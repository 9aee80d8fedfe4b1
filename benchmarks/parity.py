"""Our networks and maths against numbers of the official code: `python -m benchmarks.parity --fixture FILE.npz`.

A fixture is `NAME.npz` with the `NAME.json` that describes it. Its weights (stored, or made by the recipe of the
description) go through the same loader as official checkpoints. Prints the largest error of each output; exits
with 1 where one is out of tolerance.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measure.command import command_line
from recon4d.weights.files import WeightsFile


@dataclass(frozen=True)
class Fixture:
    """Numbers of the official code, and how they were made."""

    path: Path
    arrays: Mapping[str, NDArray[Any]]
    described: Mapping[str, Any]
    """The `.json` beside the arrays."""

    @staticmethod
    def read(path: Path) -> "Fixture":
        """Read `NAME.npz` and `NAME.json`."""
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Fixture(path, arrays, json.loads(path.with_suffix(".json").read_text()))

    def tensor(self, name: str) -> Tensor:
        """One array as a tensor."""
        return torch.from_numpy(self.arrays[name])

    @property
    def weights(self) -> WeightsFile:
        """The stored state dict, as if it had been read from a checkpoint."""
        state = {k[3:]: self.tensor(k) for k in self.arrays if k.startswith("sd/")}
        return WeightsFile(self.path, state)

    def against(self, ours: Mapping[str, Any], atol: float, rtol: float = 1e-5) -> list["Compared"]:
        """Our arrays, tensors or numbers beside the official code's of the same names."""
        return [
            Compared(name, np.asarray(value), self.arrays[name], atol, rtol)
            for name, value in ours.items()
        ]


@dataclass(frozen=True)
class Compared:
    """One output, ours and the official code's."""

    name: str
    ours: NDArray[Any]
    theirs: NDArray[Any]
    atol: float
    rtol: float = 1e-5

    @property
    def largest(self) -> tuple[float, float]:
        """Largest absolute and relative error; infinite where shapes or the places of NaN differ."""
        ours, theirs = np.asarray(self.ours, float), np.asarray(self.theirs, float)
        if ours.shape != theirs.shape or not np.array_equal(np.isnan(ours), np.isnan(theirs)):
            return np.inf, np.inf
        error = np.nan_to_num(np.abs(ours - theirs))
        relative = error / np.maximum(np.abs(np.nan_to_num(theirs)), 1e-12)
        return float(error.max(initial=0)), float(relative.max(initial=0))

    @property
    def holds(self) -> bool:
        """Whether every number is within the tolerance."""
        if not np.isfinite(self.largest[0]):
            return False
        return bool(
            np.allclose(self.ours, self.theirs, rtol=self.rtol, atol=self.atol, equal_nan=True)
        )


Compare = Callable[[Fixture], list[Compared]]
KINDS: Mapping[str, str] = {
    "dust3r": "benchmarks.peers.croco:compare",
    "align3r": "benchmarks.peers.croco:compare",
    "easi3r": "benchmarks.peers.easi3r:compare",
    "pi3": "benchmarks.peers.pi3:compare",
    "geomotion": "benchmarks.peers.geomotion:compare",
    "raft": "benchmarks.peers.raft:compare",
    "monst3r_math": "benchmarks.peers.maths:compare_monst3r",
    "dust3r_align": "benchmarks.peers.maths:compare_alignment",
    "eval_metrics": "benchmarks.peers.measures:compare",
}
"""How the name of a fixture begins, and what compares it."""


def comparison(name: str) -> Compare:
    """Find what compares a fixture; the longest beginning that fits counts."""
    fits = [kind for kind in KINDS if name.startswith(kind)]
    if not fits:
        raise SystemExit(
            f"'{name}' is no fixture that is known; names begin with {', '.join(KINDS)}"
        )
    module, function = KINDS[max(fits, key=len)].split(":")
    compare: Compare = getattr(importlib.import_module(module), function)
    return compare


def main(arguments: list[str] | None = None) -> int:
    """Compare one fixture or several; 1 where a number is out of tolerance."""
    parser = command_line("parity", __doc__)
    parser.add_argument("--fixture", type=Path, nargs="+", required=True, metavar="FILE.npz")
    bad = 0
    for path in parser.parse_args(arguments).fixture:
        for one in comparison(path.stem)(Fixture.read(path)):
            absolute, relative = one.largest
            verdict = "" if one.holds else "  OUT OF TOLERANCE"
            print(f"{path.stem:14} {one.name:50} abs {absolute:.1e}  rel {relative:.1e}{verdict}")
            bad += not one.holds
    print("all within tolerance" if not bad else f"{bad} outputs out of tolerance")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
