"""Time, memory and drift of long videos: `python -m benchmarks.longloop`.

A sequence with true poses is played forwards and backwards, with fresh noise and compression in every frame, as long
as wanted: no two frames are equal, and the camera comes back to where it began again and again, so that drift shows.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    made_now,
    markdown_table,
    number,
    recon4d,
    write_whole,
)
from benchmarks.measure.tree import watch
from recon4d.io.poses.trajectory import Trajectory, read_trajectory, write_trajectory

NOISE = 2.0
"""Standard deviation of the noise, grey levels: a camera in room light. These numbers were set by hand."""
JPEG_QUALITY = 90
"""Of the new video's frames, of 100."""
FRAMES = (50, 100, 200, 500, 1000, 2000)
"""Lengths that are measured unless others are asked for."""
TIME_LIMIT_S = 14400
"""A run that takes longer than this is listed as a failure, seconds."""
RATE = 15.0
"""Frames per second of the new video."""


def there_and_back(number: int, frames: int) -> list[int]:
    """Which of `number` frames is played at each of `frames` times: 0 ... n-1, n-2 ... 1, 0 ..."""
    turn = [*range(number), *range(number - 2, 0, -1)]
    return [turn[at % len(turn)] for at in range(frames)]


def make(source: Path, folder: Path, frames: int, seed: int = 0) -> None:
    """Write the video.

    Args:
        source: A folder in TUM layout whose images have true poses at their times.
        folder: Created.
        frames: Number of frames.
        seed: Of the noise.
    """
    images = sorted((source / "rgb").iterdir())
    truth = read_trajectory(source / "groundtruth.txt")
    played = there_and_back(len(images), frames)
    (folder / "rgb").mkdir(parents=True)
    times_s = np.arange(frames) / RATE
    for at, index in enumerate(played):
        rng = np.random.default_rng((seed, at))
        clean = np.asarray(cv2.imread(str(images[index])))
        noisy = np.clip(clean + NOISE * rng.standard_normal(clean.shape), 0, 255)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        path = folder / f"rgb/{times_s[at]:011.6f}.jpg"
        cv2.imwrite(str(path), noisy.round().astype(np.uint8), quality)
    poses = truth.world_from_cam[[_nearest(truth, images[index]) for index in played]]
    write_trajectory(Trajectory(times_s, poses), folder / "groundtruth.txt")


def _nearest(truth: Trajectory, image: Path) -> int:
    """Index of an image's true pose, by the time that is its name."""
    return int(np.abs(truth.timestamps_s - float(image.stem)).argmin())


@dataclass(frozen=True)
class Setup:
    """What all lengths have in common."""

    source: Path
    masks: str
    workers: int
    seed: int


def run_length(frames: int, setup: Setup) -> dict[str, Any]:
    """Make a video of that length, reconstruct it, and compare with the truth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(setup.source, folder, frames, setup.seed)
        out = str(folder / "result")
        options = ("--masks", setup.masks, "--workers", str(setup.workers), "--seed", "0")
        command = recon4d("run", str(folder / "rgb"), "--out", out, *options)
        measured = watch(command, TIME_LIMIT_S)
        row = {"frames": frames, **asdict(measured)}
        if measured.exit_code != 0:
            return row
        run = json.loads((folder / "result/run.json").read_text(encoding="utf-8"))
        compare = ("eval", out, "--gt", str(folder / "groundtruth.txt"))
        subprocess.run(recon4d(*compare, "--json", str(folder / "eval.json")), check=True)
        poses = json.loads((folder / "eval.json").read_text(encoding="utf-8"))["poses"]
        return row | {
            "ate_mm": 1e3 * poses["ate"],
            "posed": run["posed"],
            "clips": len(run.get("clips", [0])),
            "loops": len(run.get("loops", [])),
        }


def report(rows: Sequence[Mapping[str, Any]], setup: Setup) -> str:
    """Return the page."""
    header = ("frames", "clips", "loops", "CPU s per frame", "wall s", "PSS MB", "RSS MB", "ATE mm")
    table = markdown_table(
        header,
        [
            (
                str(row["frames"]),
                number(row.get("clips"), "d"),
                number(row.get("loops"), "d"),
                number(row["cpu_seconds"] / row["frames"], ".2f"),
                number(row["seconds"], ".0f"),
                number(row["peak_pss_mb"], ".0f"),
                number(row["peak_rss_mb"], ".0f"),
                number(row.get("ate_mm"), ".2f"),
            )
            for row in rows
        ],
    )
    failures = [
        f"* {row['frames']} frames: **failed**: exit {row['exit_code']}"
        for row in rows
        if row["exit_code"] != 0
    ]
    parts = [
        "# Time, memory and drift against the number of frames\n",
        f"Made by `python -m benchmarks.longloop` from {setup.source.name}, played forwards and backwards with noise",
        f"of {NOISE:g} grey levels and JPEG at quality {JPEG_QUALITY}, fresh in every frame; `recon4d run --masks",
        f"{setup.masks} --workers {setup.workers}`, everything else as by default. CPU seconds are user and system",
        "time of all processes. PSS is the largest sum over all processes, every second, shared pages counted once;",
        "RSS counts them once per process. Lengths up to 100 are computed in one piece.\n",
        made_now(setup.seed) + "\n",
        table,
        *failures,
    ]
    return "\n".join(parts).rstrip() + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = command_line(
        "longloop",
        __doc__,
        frames=FRAMES,
        source="exact_static",
        masks="residual",
        workers=2,
        root=DEFAULT_ROOT,
        seed=0,
        out=PAGES / "longloop.md",
    ).parse_args(words)
    source = arguments.root / arguments.source
    setup = Setup(source, arguments.masks, arguments.workers, arguments.seed)
    rows = []
    for frames in arguments.frames:
        rows.append(run_length(frames, setup))
        print(rows[-1], flush=True)
        write_whole(arguments.out, report(rows, setup))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
