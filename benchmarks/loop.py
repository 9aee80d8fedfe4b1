"""What the rounds of the loop bring, and masks in each term: `python -m benchmarks.loop`.

Every clip with true masks is reconstructed with no masks, with masks from residuals, with D2MIF, and with the true
masks, after 0, 1, 2 and 3 rounds; the stages before the rounds are computed once per clip and method. Then with and
without masks in the term of the cameras (static flow consistency) and in those of the depth, and, in short clips, with
keyframes fixed and free.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    commit,
    fill,
    machine,
    markdown_table,
    number,
    today,
    without_places,
    write_whole,
)
from benchmarks.measure.loop_keyframes import run_keyframes, section
from recon4d.core.errors import Recon4DError
from recon4d.core.parallel import one_torch_thread
from recon4d.core.progress import no_progress
from recon4d.evaluate import EvalOptions, compare
from recon4d.results.folder import write_result
from recon4d.run.methods import Methods
from recon4d.run.reconstruct import reconstruct_in
from recon4d.settings.config import RunConfig

CLIPS = ("exact_dancer", "exact_crowd", "exact_heavy")
TRUE_MASKS = "true masks"
METHODS = ("none", "residual", "d2mif", TRUE_MASKS)
ROUNDS = (0, 1, 2, 3)
"""Of masks and optimization after the first, which are compared."""
AFTER_ROUNDS = ("refine", "depth", "check")
"""Stages that depend on the last round."""
SEED = 0
"""Of every run."""


def run_method(clip: str, method: str, root: Path) -> dict[str, Any]:
    """Figures of one clip and method after every number of rounds; `failure` where it ends early."""
    masks = str(root / clip / "mask") if method == TRUE_MASKS else method
    config = RunConfig(input=root / clip, masks=masks, seed=SEED)
    row: dict[str, Any] = {"clip": clip, "method": method, "rounds": {}, "commit": commit()}
    with tempfile.TemporaryDirectory() as folder:
        for count in ROUNDS:
            try:
                found = _figures(replace(config, loop=count), Path(folder), root / clip)
            except Recon4DError as error:
                return row | {"failure": without_places(str(error), root, Path(folder))}
            row["rounds"][str(count)] = found
    return row


def run_terms(clip: str, root: Path) -> dict[str, Any]:
    """Figures of one clip with and without masks in the term of the cameras and in those of the depth."""
    row: dict[str, Any] = {"clip": clip, "terms": []}
    configs = {m: RunConfig(input=root / clip, masks=m, seed=SEED) for m in ("none", "d2mif")}
    with tempfile.TemporaryDirectory() as folder:
        homes = {method: Path(folder) / method for method in configs}
        for method, home in homes.items():
            home.mkdir()
            found = _figures(configs[method], home, root / clip)
            row["terms"].append({"cameras": method, "depth": method} | found)
            shutil.copytree(home / "stages" / "refine", home / "masks")
        for cameras, depth in permutations(homes):
            found = _figures(configs[cameras], homes[cameras], root / clip, homes[depth] / "masks")
            row["terms"].append({"cameras": cameras, "depth": depth} | found)
    return row


def _figures(
    config: RunConfig, folder: Path, truth: Path, masks: Path | None = None
) -> dict[str, Any]:
    """Run what is missing; the depth is found with the run's own masks, or with those of another run's last stage."""
    stages, result = folder / "stages", folder / "result"
    for name in AFTER_ROUNDS:
        shutil.rmtree(stages / name, ignore_errors=True)
    stages.mkdir(exist_ok=True)
    if masks is not None:
        shutil.copytree(masks, stages / "refine")
    with one_torch_thread():
        reconstruction = reconstruct_in(config, Methods.of(config), stages, no_progress)
    write_result(reconstruction, result)
    found = compare(result, truth, EvalOptions())
    shutil.rmtree(result)
    assert found.poses is not None and found.depth is not None and found.masks is not None
    rounds = reconstruction.run["rounds"]
    assert isinstance(rounds, list)
    return {
        "ate_m": found.poses.ate,
        "rpe_rotation_deg": found.poses.rpe_rotation_deg,
        "abs_rel": found.depth.all.abs_rel,
        "abs_rel_static": None if found.depth.static is None else found.depth.static.abs_rel,
        "jaccard": found.masks.jaccard,
        "history": rounds,
    }


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page."""
    header = ("clip, masks", "rounds", "kept", "ATE mm", "RPE-r deg", "Abs Rel", "J")
    lines = []
    for row in (row for row in rows if "method" in row):
        name = f"{row['clip']}, {row['method']}"
        for count, found in row["rounds"].items():
            kept = sum(bool(entry["kept"]) for entry in found["history"])
            ate = found["ate_m"]
            lines.append(
                (
                    name,
                    count,
                    f"{kept} of {len(found['history'])}",
                    number(None if ate is None else 1e3 * ate, ".2f"),
                    number(found["rpe_rotation_deg"], ".4f"),
                    number(found["abs_rel"], ".4f"),
                    number(found["jaccard"], ".3f"),
                )
            )
        if "failure" in row:
            lines.append((name, "failed", row["failure"], "-", "-", "-", "-"))
    text = (
        "# What the rounds of the loop bring\n\n"
        f"`python -m benchmarks.loop`, commit {_commits(rows)}, {today()}, {machine()}, seed {SEED}. "
        "ATE after Sim(3), depth after one scale, J of the masks that are written (`--refine edges`). "
        "`kept`: rounds whose result was kept, of those that were run (the loop ends when the masks settle); the first "
        "is round 0. From round 1 on, the flow is measured with the geometry's help; masks that do not depend on the "
        "geometry (none, the true ones) have just that one further round.\n\n"
    )
    terms = _terms([row for row in rows if "terms" in row])
    return (
        text
        + markdown_table(header, lines)
        + terms
        + section([r for r in rows if "keyframes" in r])
    )


def _commits(rows: Sequence[Mapping[str, Any]]) -> str:
    """Of all rows: what an earlier call has done is kept."""
    return ", ".join(sorted({str(row["commit"]) for row in rows if "commit" in row}))


def _terms(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ("clip", "masks in the cameras' term", "in the depth's", "ATE mm", "Abs Rel", "static")
    lines = [
        (
            row["clip"],
            found["cameras"],
            found["depth"],
            number(1e3 * found["ate_m"], ".2f"),
            number(found["abs_rel"], ".4f"),
            number(found["abs_rel_static"], ".4f"),
        )
        for row in rows
        for found in row["terms"]
    ]
    text = (
        "\n## Masks in each term\n\nDefaults otherwise. The term of the cameras is the static flow consistency, with "
        "weight 1 - M; those of the depth are the same at every pixel, and what lies behind a mask stands on the "
        "ground.\n\n"
    )
    return text + markdown_table(header, lines) if rows else ""


def _work(clip: str, methods: Sequence[str], root: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is computed for a clip, by the key of its row; what takes no method needs all of them to be asked for."""
    work: dict[str, Callable[[], dict[str, Any]]] = {
        f"{clip} {method}": partial(run_method, clip, method, root) for method in methods
    }
    if set(methods) == set(METHODS):
        work[f"{clip} terms"] = partial(run_terms, clip, root)
        work[f"{clip} keyframes"] = partial(run_keyframes, clip, root, "residual", SEED)
    return work


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing and write the page."""
    page = PAGES / "loop.json"
    parser = command_line("loop", __doc__, root=DEFAULT_ROOT, clips=CLIPS, out=page, again=False)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    arguments = parser.parse_args(argv)
    work: dict[str, Callable[[], dict[str, Any]]] = {}
    for clip in arguments.clips:
        work |= _work(clip, arguments.methods, arguments.root)
    rows = list(fill(arguments.out, work, arguments.again).values())
    write_whole(arguments.out.with_suffix(".md"), report(rows))
    print(report(rows))


if __name__ == "__main__":
    main()
