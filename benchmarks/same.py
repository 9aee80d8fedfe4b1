"""Whether a change of the code changes results: `python -m benchmarks.same --write FILE`, later `--against FILE`.

Six small runs, each of another way through the program; what each result says of cameras, depth and masks is hashed
file by file. Equal hashes mean equal bits on this machine; another processor may round differently, so that a file is
to be compared where it was written.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.command import command_line
from benchmarks.measure.common import DEFAULT_ROOT, measure, provenance, recon4d, write_whole

HASHED = ("poses.txt", "intrinsics.txt", "depth", "masks")
"""Parts of a result that are compared; a folder's files all together, in the order of their names."""
GIVEN_POSES = (0, 7, 15, 23)
"""Lines of the true trajectory that the run with given poses is told."""

Hashes = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Run:
    """One small run: an input below the data's root, and options."""

    source: str
    options: tuple[str, ...]
    poses_of: str | None = None
    """Sequence whose true poses are given in part."""


RUNS: Mapping[str, Run] = {
    "static": Run(
        "exact_static/rgb", ("--max-frames", "20", "--size", "192", "--masks", "residual")
    ),
    "heavy": Run("exact_heavy", ("--max-frames", "24", "--size", "192")),
    "long": Run(
        "exact_crowd",
        (
            "--size",
            "160",
            "--set",
            "optim.whole_frames=28",
            "--set",
            "optim.clip_frames=24",
            "--workers",
            "2",
        ),
    ),
    "rgbd": Run("exact_static", ("--max-frames", "16", "--size", "192", "--geometry", "rgbd")),
    "poses": Run("exact_dancer", ("--max-frames", "24", "--size", "192"), "exact_dancer"),
    "zoom": Run(
        "exact_static/rgb", ("--max-frames", "20", "--size", "192", "--focal", "per-frame")
    ),
}
"""Every way through the program that moves bits: one focal length, movers, clips, depth camera, known poses, zoom."""


def words_of(run: Run, root: Path, folder: Path) -> list[str]:
    """Return the words of `recon4d run` for one of the runs, without its output."""
    words = [str(root / run.source), *run.options]
    if run.poses_of is None:
        return words
    truth = (root / run.poses_of / "groundtruth.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in truth if not line.startswith("#")]
    given = folder / "given.txt"
    given.write_text("\n".join(lines[index] for index in GIVEN_POSES) + "\n", encoding="utf-8")
    return [*words, "--poses", str(given)]


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.name} {file.stat().st_size}\n".encode())
        found.update(file.read_bytes())
    return found.hexdigest()


def hashes_of(result: Path) -> dict[str, str]:
    """Return the hash of each compared part of a result."""
    return {name: hash_of(result / name) for name in HASHED}


def make(names: Sequence[str], root: Path) -> Hashes:
    """Run the named runs and hash their results; end the program where one fails."""
    found: Hashes = {}
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            out = folder / "result"
            words = words_of(RUNS[name], root, folder)
            done = measure(recon4d("run", *words, "--out", str(out)))
            if done.exit_code != 0:
                raise SystemExit(f"{name}: {done.failure(root, folder)}")
            found[name] = hashes_of(out)
        print(f"{name}: done in {done.seconds:.0f} s")
    return found


def differences(found: Hashes, stored: Hashes) -> list[str]:
    """Return one line per part of a run whose hash is another, or that only one of the two has."""
    lines = []
    for name, parts in found.items():
        if name not in stored:
            lines.append(f"{name}: not in the file")
            continue
        lines += [
            f"{name}: {part} differs" for part in parts if parts[part] != stored[name].get(part)
        ]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Write the hashes of this checkout's results, or compare them; 1 where they differ."""
    parser = command_line("same", __doc__, root=DEFAULT_ROOT)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="FILE", help="store the hashes")
    what.add_argument("--against", type=Path, metavar="FILE", help="compare with stored ones")
    parser.add_argument("--only", action="append", choices=tuple(RUNS), help="some of the runs")
    arguments = parser.parse_args(argv)
    found = make(arguments.only or tuple(RUNS), arguments.root)
    if arguments.write is not None:
        made = provenance(seed=0)
        write_whole(arguments.write, json.dumps({"made": made, "hashes": found}, indent=2) + "\n")
        return 0
    stored = json.loads(arguments.against.read_text(encoding="utf-8"))
    lines = differences(found, stored["hashes"])
    print("\n".join(lines) or f"equal to {arguments.against} ({stored['made']['commit']})")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
