"""Every sequence of the test material through the real command: `python -m benchmarks.clips`."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    COST,
    DEFAULT_ROOT,
    PAGES,
    cells,
    made_lines,
    markdown_table,
    measure,
    number,
    provenance,
    read_rows,
    recon4d,
    remarks,
    to_json,
    without_places,
    write_whole,
)

SEED = 0
"""Of every run."""
KITTI_DEPTH_FACTOR = 256.0
"""Value of one metre in KITTI's depth images."""

POSES = {
    "ATE m": ("ate", ".4f"),
    "RPE-t m": ("rpe_translation", ".4f"),
    "RPE-r deg": ("rpe_rotation_deg", ".3f"),
    "rotation deg": ("rotation_best_deg", ".3f"),
    "focal error": ("focal_error", "+.2%"),
}
DEPTH = {
    f"{title} {part}": (f"{key}_{part}", ".4f")
    for part in ("all", "static", "moving")
    for title, key in (("Abs Rel", "abs_rel"), ("d<1.25", "delta"))
} | {"J": ("jaccard", ".3f"), "F": ("contour", ".3f")}


@dataclass(frozen=True)
class Clip:
    """One run: what goes in, and what is known about it. Paths are relative to the data's root."""

    source: str
    options: tuple[str, ...] = ()
    truth: str | None = None
    intrinsics: str | None = None
    """File that is given to the run as `--intrinsics`."""
    depth_factor: float = 5000.0

    @property
    def name(self) -> str:
        """How the table calls it."""
        return " ".join((self.source, *self.options))

    def arguments(self, root: str) -> list[str]:
        """Return the words after `recon4d run`, without the output."""
        words = [f"{root}/{self.source}", "--masks", "residual", "--seed", str(SEED), *self.options]
        return words + (["--intrinsics", f"{root}/{self.intrinsics}"] if self.intrinsics else [])


def _davis(name: str) -> Clip:
    return Clip(f"davis2016/JPEGImages/480p/{name}", truth=f"davis2016/Annotations/480p/{name}")


CLIPS = (
    *(
        Clip(name, truth=name)
        for name in ("exact_static", "exact_dancer", "exact_crowd", "exact_heavy")
    ),
    Clip("kitchen_static", truth="kitchen_static"),
    Clip("kitchen_crowd", truth="kitchen_crowd"),
    Clip("exact_static/rgb", truth="exact_static"),
    Clip("kitchen_static/rgb", truth="kitchen_static"),
    Clip("exact_static", ("--geometry", "rgbd"), truth="exact_static"),
    Clip("kitchen_static", ("--geometry", "rgbd"), truth="kitchen_static"),
    Clip("tum_fr1_rpy", truth="tum_fr1_rpy"),
    Clip(
        "kitti_traffic/rgb",
        truth="kitti_traffic",
        intrinsics="kitti_traffic/intrinsics.txt",
        depth_factor=KITTI_DEPTH_FACTOR,
    ),
    *(Clip(f"videos/{name}.mp4") for name in ("lady-running", "dog-gooses", "apple")),
    *(_davis(name) for name in ("camel", "car-shadow", "dog", "parkour")),
)


def run_clip(clip: Clip, root: Path, folder: Path) -> dict[str, object]:
    """Reconstruct one clip and compare it with its truth; a failure becomes a row like any other."""
    row: dict[str, object] = {
        "command": " ".join(["recon4d run", *clip.arguments("DATA")]),
        **provenance(SEED),
    }
    if not (root / clip.source).exists():
        return row | {"failure": f"{clip.source} is not in the data folder"}
    result = folder / "result"
    measured = measure(
        recon4d("run", *clip.arguments(str(root)), "--out", str(result), "--overwrite")
    )
    row |= {"seconds": measured.seconds, "peak_rss_mb": measured.peak_rss_mb}
    if measured.exit_code != 0:
        return row | {"failure": measured.failure(root, folder)}
    row |= run_figures(json.loads((result / "run.json").read_text(encoding="utf-8")))
    return row | _compare(clip, root, result)


def _compare(clip: Clip, root: Path, result: Path) -> dict[str, object]:
    from recon4d.core.errors import Recon4DError
    from recon4d.evaluate import EvalOptions, compare
    from recon4d.evaluate import to_json as evaluation_json

    if clip.truth is None:
        return {}
    options = EvalOptions(depth_factor=clip.depth_factor)
    try:
        evaluation = compare(result, root / clip.truth, options)
    except Recon4DError as error:
        return {"failure": f"evaluation: {without_places(str(error), root, result.parent)}"}
    figures = truth_figures(json.loads(evaluation_json(evaluation)))
    return figures | _focal_error(root / clip.truth / "intrinsics.txt", result)


def _focal_error(truth: Path, result: Path) -> dict[str, object]:
    """How far the focal length is off, as a part of the true one; both per working width."""
    run = json.loads((result / "run.json").read_text(encoding="utf-8"))
    if not truth.is_file() or run.get("focal_known") is not False:
        return {}
    import cv2

    image = next((truth.parent / "rgb").iterdir())
    picture = cv2.imread(str(image))
    if picture is None:
        return {"failure": f"{image.name} of the truth cannot be read"}
    true_px = float(truth.read_text(encoding="utf-8").split()[0]) / picture.shape[1]
    return {"focal_error": run["focal_px"][0] / run["size"][0] / true_px - 1}


def run_figures(run: Mapping[str, Any]) -> dict[str, object]:
    """Return what the table shows of a run.json."""
    residual = run.get("static_flow_residual_px") or {}
    return {
        "frames": run.get("frames"),
        "posed": run.get("posed"),
        "residual_px": {offset: residual.get(offset) for offset in ("1", "5", "10")},
        "warnings": [warning["code"] for warning in run.get("warnings", [])],
    }


def truth_figures(evaluation: Mapping[str, Any]) -> dict[str, object]:
    """Return what the table shows of an evaluation."""
    found: dict[str, object] = {}
    poses, depth, masks = (evaluation.get(part) for part in ("poses", "depth", "masks"))
    if poses:
        keys = ("align", "ate", "rpe_translation", "rpe_rotation_deg", "rotation_best_deg", "scale")
        found |= {key: poses[key] for key in keys}
    if depth:
        for part in ("all", "static", "moving"):
            if depth[part]:
                found[f"abs_rel_{part}"] = depth[part]["abs_rel"]
                found[f"delta_{part}"] = depth[part]["delta_1"]
    if masks:
        found |= {"jaccard": masks["jaccard"], "contour": masks["contour"]}
    return found


def report(rows: Mapping[str, Mapping[str, object]]) -> str:
    """Return the page: poses and cost, depth, masks and flow, failures, and how it was made."""
    parts = [
        "# Results on the test sequences\n",
        "Made by `python -m benchmarks.clips`; nothing here is typed by hand. Poses are aligned by Sim(3), or by",
        "SE(3) where the result is metric; depth by one scale per sequence; unknown pixels count as wrong.",
        "`-`: there is no truth, or no result.\n",
        *made_lines(rows),
        "\n## Poses and cost\n",
        _poses(rows),
        "## Depth, masks and static flow residual\n",
        _depth(rows),
        "## Failures and warnings\n",
        *remarks(rows),
        "\n## Commands\n",
        *(f"* `{row['command']}`" for row in rows.values()),
    ]
    return "\n".join(parts) + "\n"


def _poses(rows: Mapping[str, Mapping[str, object]]) -> str:
    lines = []
    for name, row in rows.items():
        posed = f"{number(row.get('posed'), 'd')}/{number(row.get('frames'), 'd')}"
        lines.append((name, posed, str(row.get("align", "-")), *cells(row, {**POSES, **COST})))
    return markdown_table(("sequence", "posed", "align", *POSES, *COST), lines)


def _depth(rows: Mapping[str, Mapping[str, object]]) -> str:
    header = ("sequence", *DEPTH, "flow 1 / 5 / 10 apart, px")
    lines = [(n, *cells(row, DEPTH), _residuals(row.get("residual_px"))) for n, row in rows.items()]
    return markdown_table(header, lines)


def _residuals(residual_px: object) -> str:
    if not isinstance(residual_px, dict):
        return "-"
    return " / ".join(number(residual_px.get(offset), ".2f") for offset in ("1", "5", "10"))


def chosen(only: str | None, done: Mapping[str, Mapping[str, object]], resume: bool) -> list[Clip]:
    """Return the clips to run: those that contain a word, without those that an earlier benchmark finished."""
    wanted = [clip for clip in CLIPS if only is None or only in clip.name]
    if not wanted:
        names = ", ".join(clip.name for clip in CLIPS)
        raise SystemExit(f"no sequence contains '{only}'; there are: {names}")
    if not resume:
        return wanted
    return [clip for clip in wanted if clip.name not in done or "failure" in done[clip.name]]


def in_order(rows: Mapping[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Return the rows in the order of `CLIPS`."""
    return {clip.name: rows[clip.name] for clip in CLIPS if clip.name in rows}


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    page = PAGES / "results.md"
    parser = command_line("clips", __doc__, root=DEFAULT_ROOT, out=page, resume=False)
    parser.add_argument("--only", metavar="WORD", help="sequences whose name contains this")
    arguments = parser.parse_args(words)
    root, store = arguments.root, arguments.out.with_suffix(".json")
    rows = read_rows(store)
    for clip in chosen(arguments.only, rows, arguments.resume):
        print(f"{clip.name} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            rows[clip.name] = run_clip(clip, root, Path(folder))
        rows = in_order(rows)
        write_whole(store, to_json(rows))
        write_whole(arguments.out, report(rows))
        print(f"  {rows[clip.name]}", flush=True)
    print(f"wrote {arguments.out} and {store}")


if __name__ == "__main__":
    main()
