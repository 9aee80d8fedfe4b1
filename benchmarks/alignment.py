"""Cameras, depth and masks from pairwise predictions: accuracy, CPU time and memory, beside the peers' optimizers.

    python -m benchmarks.alignment --scene FILE.npz --out RESULT.npz     one scene; the last line is JSON
    python -m benchmarks.alignment --suite FOLDER --tools DIR            makes scenes there, and the table

Times run from arrays in memory to the result; imports and the reading of the file are apart.
"""

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    PAGES,
    PROJECT,
    made_now,
    markdown_table,
    number,
    rss_mb,
    write_whole,
)
from benchmarks.measure.pairs_file import read_pairs
from recon4d.core.errors import Recon4DError
from recon4d.evaluate.stated import stated_poses
from recon4d.io.poses.trajectory import Trajectory
from recon4d.optim.pairwise import MASKS, PairOptions, align_pairs

REPEATS = 3
"""Runs per scene unless said; the table has the median of the CPU seconds. Set by hand."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One scene of the suite, and what the peers reach on it."""

    name: str
    options: str
    """Of make_scene.py."""
    dust3r: str
    """CPU s / ATE; `*`: extrapolated from a few iterations."""
    monst3r: str
    """CPU s / ATE / mask J with their defaults."""


HARD = "--objects hard --flow-blur 8 --flow-noise .6"
ROWS = (
    Row("24 frames 128x96", "--frames 24 --size 128x96", "125 / .0319", "214 / .0171 / 1.00"),
    Row(
        "... hard movers, seed 0",
        f"--frames 24 --size 128x96 {HARD}",
        "123 / .0183",
        "214 / .0182 / .70",
    ),
    Row(
        "... hard movers, seed 1",
        f"--frames 24 --size 128x96 --seed 1 {HARD}",
        "114 / .0215",
        "196 / .0220 / .64",
    ),
    Row("48 frames 128x96", "--frames 48 --size 128x96", "367 / .0361", "805 / .0186 / 1.00"),
    Row("24 frames 224x160", "--frames 24 --size 224x160", "469* / -", "981* / - / -"),
    Row("24 frames 512x288", "--frames 24 --size 512x288", "1925* / -", "4293* / - / -"),
)
"""Peers: ../shared/peers/alignment.md, unmodified code on the same files, 1 thread, 300 iterations."""


def run_scene(scene: Path, out: Path, options: PairOptions) -> dict[str, object]:
    """Align one scene, write the result, and return what it cost and what it dropped."""
    pairs = read_pairs(scene)
    inputs_mb = rss_mb(resource.getrusage(resource.RUSAGE_SELF))
    begin_wall, begin_cpu = time.perf_counter(), time.process_time()
    result = align_pairs(pairs, options)
    cost = {
        "cpu_seconds": round(time.process_time() - begin_cpu, 3),
        "wall_seconds": round(time.perf_counter() - begin_wall, 3),
        "peak_rss_mb": round(rss_mb(resource.getrusage(resource.RUSAGE_SELF)), 1),
        "inputs_rss_mb": round(inputs_mb, 1),
    }
    np.savez(
        out,
        world_from_cam=result.world_from_cam,
        depth=result.depth,
        depth_std=result.depth_std,
        focal=result.focal_px,
        pose_covariance=result.pose_covariance,
        moving=result.moving,
    )
    dropped = [
        {"code": n.code, "message": n.message, "frames": list(n.frames)} for n in result.notices
    ]
    return cost | {"dropped": dropped}


def run_suite(folder: Path, tools: Path, out: Path, repeats: int = REPEATS) -> None:
    """Make the scenes, align each a few times in a process of its own, score, and write the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, row in enumerate(ROWS):
        scene = folder / f"scene{index}.npz"
        if not scene.is_file():
            _python(str(tools / "make_scene.py"), *row.options.split(), "--out", str(scene))
        rows.append(_measured(row, scene, tools, repeats))
        print(rows[-1], flush=True)
    write_whole(out, report(rows, repeats))
    print(f"wrote {out}")


def _measured(row: Row, scene: Path, tools: Path, repeats: int) -> dict[str, Any]:
    result = scene.with_suffix(".result.npz")
    runs = []
    for _ in range(repeats):
        said = _python(
            "-m", "benchmarks.alignment", "--scene", str(scene), "--out", str(result), "--threads", "1"
        )  # fmt: skip
        runs.append(json.loads(said.strip().splitlines()[-1]))
    score = json.loads(
        _python(str(tools / "score_scene.py"), "--scene", str(scene), "--result", str(result))
    )
    stated_poses_share, stated_depth_share = stated(
        scene, result, score["sim3_scale_vs_depth_scale"]
    )
    return {
        "row": row,
        "stated_poses": stated_poses_share,
        "stated_depth": stated_depth_share,
        "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
        "peak_rss_mb": max(run["peak_rss_mb"] for run in runs),
        "inputs_rss_mb": runs[0]["inputs_rss_mb"],
        "dropped": runs[0]["dropped"],
        **score,
    }


def stated(scene: Path, result: Path, poses_over_depth: float) -> tuple[float, float]:
    """Shares of the errors that lie within one stated standard deviation: of relative poses per axis, and of depth.

    Args:
        scene: With the truth.
        result: Of `run_scene`.
        poses_over_depth: Scale of the poses (after Sim(3)) over that of the depth (the median one).
    """
    with np.load(scene) as truth, np.load(result) as found:
        true, depth, std = truth["gt_depth"], found["depth"], found["depth_std"]
        scale = float(np.median(true) / np.median(depth))
        times = np.arange(len(depth), dtype=float)
        poses = stated_poses(
            Trajectory(times, found["world_from_cam"]),
            Trajectory(times, truth["gt_c2w"]),
            found["pose_covariance"],
            scale * poses_over_depth,
            0.1,
        )
    within = float((np.abs(scale * depth - true) < scale * std).mean())
    return (np.nan if poses is None else (poses.rotation + poses.translation) / 2), within


def _python(*arguments: str) -> str:
    """Output of a Python program, which must succeed."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def report(rows: Sequence[dict[str, Any]], repeats: int = REPEATS) -> str:
    """Return the page."""
    header = (
        "scene", "CPU s", "peak MB (inputs)", "ATE", "Abs Rel", "... movers", "masks J",
        "focal error", "scale ratio", "poses in 1 sigma", "depth in 1 sigma",
        "DUSt3R: CPU s / ATE", "MonST3R: CPU s / ATE / J",
    )  # fmt: skip
    table = [
        (
            row["row"].name,
            number(row["cpu_seconds"], ".1f"),
            f"{row['peak_rss_mb']:.0f} ({row['inputs_rss_mb']:.0f})",
            number(row["ate_rmse"], ".4f"),
            number(row["absrel"], ".4f"),
            number(row["absrel_dyn"], ".4f"),
            number(row["mask_iou"], ".2f"),
            f"{100 * row['focal_relerr_mean']:.2f} %",
            number(row["sim3_scale_vs_depth_scale"], ".3f"),
            f"{row['stated_poses']:.0%}",
            f"{row['stated_depth']:.0%}",
            row["row"].dust3r,
            row["row"].monst3r,
        )
        for row in rows
    ]
    return "\n".join(
        [
            "# Alignment of pairwise predictions\n",
            "Made by `python -m benchmarks.alignment --suite FOLDER --tools ../shared/tools`: scenes of",
            "make_scene.py with the options of `ROWS`, seed 0 unless said, 1 thread, median CPU seconds of",
            f"{repeats} runs, scores of score_scene.py (Sim(3) for ATE; one median scale for depth). Own masks and one",
            "setting in every row. `in 1 sigma`: errors of the poses from frame t to t + 1, per axis, and of the depth",
            "that lie within one stated standard deviation (68 % where it is right). Peers: unmodified code on the",
            "same files, 1 thread, 300 iterations; `*` extrapolated from 3 to 10 iterations.\n",
            made_now(None) + "\n",
            markdown_table(header, table),
        ]
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    tools = PROJECT / "../shared/tools"
    parser = command_line("alignment", __doc__, threads=1, tools=tools, repeats=REPEATS)
    add = parser.add_argument
    add("--scene", type=Path, metavar="FILE", help="recon4d-pairs .npz")
    add("--out", type=Path, metavar="FILE", help="result .npz, or page of the suite")
    add("--masks", choices=MASKS, default=MASKS[0])
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--suite", type=Path, metavar="FOLDER", help="where scenes are made")
    arguments = parser.parse_args(words)
    if arguments.suite is not None:
        out = arguments.out or PAGES / "alignment.md"
        run_suite(arguments.suite.resolve(), arguments.tools.resolve(), out, arguments.repeats)
        return
    if arguments.scene is None or arguments.out is None:
        parser.error("give --scene FILE and --out FILE, or --suite FOLDER")
    torch.set_num_threads(arguments.threads)
    options = PairOptions(masks=arguments.masks, device=arguments.device)
    try:
        cost = run_scene(arguments.scene, arguments.out, options)
    except Recon4DError as error:
        raise SystemExit(f"error: {error}") from error
    print(json.dumps(cost))


if __name__ == "__main__":
    main()
