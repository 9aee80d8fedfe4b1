"""Depth of a simulated network as `--depth`, through the real command: `python -m benchmarks.depth_guides --data DIR`.

DIR holds sequences in TUM's layout with depth, and masks where something moves. The network says the true depth with
errors as networks have them (`benchmarks.measure.simulated_depth`). Options that are not the benchmark's own are handed
on to `recon4d run`.
"""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    PAGES,
    Columns,
    cells,
    markdown_table,
    remarks,
    to_json,
    write_whole,
)
from benchmarks.measure.simulated_depth import USUAL, Errors, simulated
from benchmarks.scores.one_run import run_row, with_run_options
from benchmarks.scores.page import Row, Rows, head, tail
from recon4d.core.errors import Recon4DError
from recon4d.evaluate import EvalOptions, compare
from recon4d.evaluate.truth import read_true_depth, read_true_mask, read_truth
from recon4d.io.resize import resize_nearest
from recon4d.io.rgbd.tum import is_tum_folder, read_list

PAGE = PAGES / "depth_guides.md"
SMALLER = 2
"""Of each side of the frames: networks work at a lower resolution."""
SEED = 0
"""Of the network's errors."""
GUIDES: dict[str, tuple[str, Errors] | None] = {
    "none": None,
    "affine": ("affine", USUAL),
    "affine, lasting": ("affine", Errors(lasting=0.5)),
    "relative": ("relative", USUAL),
    "metric": ("metric", USUAL),
}
"""What is given: its scale and errors; `lasting`: half of the variance of movers' errors is the same in all frames."""
COLUMNS: Columns = {
    "static Abs Rel": ("static", ".4f"),
    "movers Abs Rel": ("moving", ".3f"),
    "ATE mm": ("ate_mm", ".3f"),
    "seconds": ("seconds", ".0f"),
}
EXPLAINED = """\
The simulated network sees every frame alone, at half of its resolution: a smooth error of 10 % over the picture, movers
off by 20 % in the mean, blurred edges, and a factor and an offset of each frame where its scale says so. Abs Rel is
after one factor per sequence, and ATE after the best similarity; of what is metric after the best motion.
"""


def write_maps(sequence: Path, folder: Path, scale: str, errors: Errors) -> None:
    """Write what the network says of every colour image that has depth, named like it."""
    truth = read_truth(sequence)
    folder.mkdir()
    names, depth, moving = [], [], []
    for time_s, path in read_list(sequence / "rgb.txt"):
        file = truth.depth_file(time_s, path.name, EvalOptions().max_diff_s)
        if file is None:
            continue
        true = read_true_depth(file, EvalOptions().depth_factor)
        size = (true.shape[1] // SMALLER, true.shape[0] // SMALLER)
        mask = truth.mask_file(path.name, file)
        moves = np.zeros(true.shape, bool) if mask is None else read_true_mask(mask)
        names.append(path.stem)
        depth.append(resize_nearest(true, size))
        moving.append(resize_nearest(moves.astype(np.uint8), size) > 0)
    maps = simulated(np.stack(depth), np.stack(moving), scale, SEED, errors)
    for name, values in zip(names, maps, strict=True):
        np.save(folder / f"{name}.npy", values)


def run_with(sequence: Path, guide: str, options: Sequence[str], folder: Path) -> Row:
    """One sequence with one of `GUIDES`."""
    unsaid: tuple[str, ...] = ()
    made = GUIDES[guide]
    if made is not None:
        scale, errors = made
        maps = folder / "maps"
        write_maps(sequence, maps, scale, errors)
        kind = "disparity" if scale == "affine" else "depth"
        options = (*options, "--depth-kind", kind, "--depth-scale", scale)
        unsaid = ("--depth", str(maps))
    result = folder / "result"

    def score() -> Row:
        found = compare(result, sequence, EvalOptions())
        depth, poses = found.depth, found.poses
        static = None if depth is None else depth.static or depth.all
        moving = None if depth is None else depth.moving
        return {
            "static": None if static is None else static.abs_rel,
            "moving": None if moving is None else moving.abs_rel,
            "ate_mm": None if poses is None or poses.ate is None else 1000 * poses.ate,
        }

    return run_row(sequence.name, sequence, result, options, score, unsaid, sequence.parent)


def report(rows: Rows, command: str) -> str:
    """The page."""
    lines = [(*name.split(": "), *cells(row, COLUMNS)) for name, row in rows.items()]
    parts = [
        *head("Depth of a network as a guide", command, rows, ()),
        f"\n{EXPLAINED}",
        markdown_table(("sequence", "given", *COLUMNS), lines),
        *tail(rows, "Failures", remarks(rows)),
    ]
    return "\n".join(parts) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_line("depth_guides", __doc__, out=PAGE)
    parser.allow_abbrev = False
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="of sequences")
    parser.add_argument("--only", default="", metavar="WORD", help="names that contain this")
    parser.add_argument("--guides", nargs="+", choices=list(GUIDES), default=list(GUIDES))
    try:
        given, options = with_run_options(parser, sys.argv[1:] if words is None else words)
    except Recon4DError as error:
        raise SystemExit(str(error)) from error
    found = sorted(path for path in given.data.iterdir() if is_tum_folder(path))
    sequences = [path for path in found if given.only in path.name and (path / "depth").is_dir()]
    if not sequences:
        raise SystemExit(f"no sequence with depth whose name contains '{given.only}'")
    rows: dict[str, Row] = {}
    command = shlex.join(["python", "-m", "benchmarks.depth_guides", *options])
    for sequence in sequences:
        for guide in given.guides:
            with tempfile.TemporaryDirectory() as folder:
                rows[f"{sequence.name}: {guide}"] = run_with(sequence, guide, options, Path(folder))
            write_whole(given.out, report(rows, command))
            write_whole(given.out.with_suffix(".json"), to_json(rows))
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
