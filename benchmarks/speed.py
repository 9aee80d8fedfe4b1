"""Seconds per stage and peak memory against the number of frames: `python -m benchmarks.speed`.

Lengths beyond the sequence's own are made by `benchmarks.longloop` (forwards and backwards, fresh noise); drift is
measured there.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.longloop import TIME_LIMIT_S, make
from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    made_now,
    markdown_table,
    number,
    recon4d,
    without_places,
    write_whole,
)
from benchmarks.measure.tree import watch

SOURCE = "exact_static"
"""90 frames of 640x480; `videos/lady-running.mp4` has the 16:9 at which mask methods are compared."""
FRAMES = (50, 100, 200, 500, 1000, 2000)
"""Lengths that are measured unless others are asked for."""


def stage_seconds(stages: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return seconds per stage; the rounds of a stage (`masks_0`, `masks_1`, ...) are added up."""
    total: dict[str, float] = {}
    for name, cost in stages.items():
        stem, _, last = name.rpartition("_")
        key = stem if last.isdigit() else name
        total[key] = total.get(key, 0.0) + cost["seconds"]
    return total


def mask_seconds(seconds: Mapping[str, float]) -> float:
    """Seconds of the whole mask stage: features, network and fusion of all rounds, nothing else."""
    return seconds.get("features", 0.0) + seconds.get("masks", 0.0)


def run_length(frames: int, source: Path, masks: str) -> dict[str, Any]:
    """Reconstruct the first frames of the sequence, or a longer video that is made from it."""
    with tempfile.TemporaryDirectory() as name:
        folder, result = Path(name), Path(name) / "result"
        video, is_made = _video(frames, source, folder)
        command = recon4d("run", str(video), *_options(frames, masks), "--out", str(result))
        measured = watch(command, TIME_LIMIT_S)
        row: dict[str, Any] = {"frames": frames, "made": is_made, **asdict(measured)}
        if measured.exit_code != 0:
            words = without_places(measured.last_words, source.parent, folder)
            return row | {"failure": f"exit {measured.exit_code}: {words}"}
        run = json.loads((result / "run.json").read_text(encoding="utf-8"))
        return row | {"stages": stage_seconds(run["stages"])}


def _video(frames: int, source: Path, folder: Path) -> tuple[Path, bool]:
    """What is reconstructed, and whether it was made here: the sequence itself where it is long enough."""
    images = source / "rgb"
    if not images.is_dir() or frames <= len(list(images.iterdir())):
        return source, False
    make(source, folder / "made", frames)
    return folder / "made/rgb", True


def _options(frames: int, masks: str) -> tuple[str, ...]:
    return ("--masks", masks, "--seed", "0", "--max-frames", str(frames))


def report(rows: Sequence[Mapping[str, Any]], source: str, masks: str) -> str:
    """Return the page."""
    stages = list(dict.fromkeys(stage for row in rows for stage in row.get("stages", {})))
    header = (
        "frames",
        "wall s",
        "s per frame",
        "CPU s per frame",
        "PSS MB",
        "masks s per frame",
        "refine s per frame",
        *stages,
    )
    table = markdown_table(
        header,
        [
            (
                f"{row['frames']}{' (made)' if row['made'] else ''}",
                number(row["seconds"], ".1f"),
                number(row["seconds"] / row["frames"], ".2f"),
                number(row["cpu_seconds"] / row["frames"], ".2f"),
                number(row["peak_pss_mb"], ".0f"),
                *_per_frame(row),
                *(number(row.get("stages", {}).get(stage), ".2f") for stage in stages),
            )
            for row in rows
        ],
    )
    failures = [
        f"* {row['frames']} frames: **failed**: {' '.join(row['failure'].split())}"
        for row in rows
        if "failure" in row
    ]
    command = f"recon4d run DATA/{source} --masks {masks} --seed 0 --max-frames N"
    parts = [
        "# Seconds per stage and memory against the number of frames\n",
        f"Made by `python -m benchmarks.speed`, which runs `{command}` (everything included: start of the",
        "program, reading, writing). Stages in seconds; rounds of masks and optimization added up. Masks per frame:",
        "features, network and fusion over partners in all rounds, without flow, geometry and refinement. PSS: all",
        "processes together, shared pages once. `made`: longer than the sequence, played forwards and backwards with",
        "fresh noise. More than 100 frames are computed in clips by two processes: their stages' seconds add up.\n",
        made_now(0) + "\n",
        table,
        *failures,
    ]
    return "\n".join(parts).rstrip() + "\n"


def _per_frame(row: Mapping[str, Any]) -> tuple[str, str]:
    """Masks of all rounds together, and their refinement, per frame."""
    if "stages" not in row:
        return "-", "-"
    stages, frames = row["stages"], row["frames"]
    return (
        number(mask_seconds(stages) / frames, ".3f"),
        number(stages.get("refine", 0.0) / frames, ".3f"),
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = command_line(
        "speed",
        __doc__,
        frames=FRAMES,
        source=SOURCE,
        masks="d2mif",
        root=DEFAULT_ROOT,
        out=PAGES / "speed.md",
    ).parse_args(words)
    rows = []
    for frames in arguments.frames:
        rows.append(run_length(frames, arguments.root / arguments.source, arguments.masks))
        print(rows[-1], flush=True)
        write_whole(arguments.out, report(rows, arguments.source, arguments.masks))
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
