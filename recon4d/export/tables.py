"""Followed points and objects as tables: `tracks.csv` and `objects.csv`."""

import csv
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.export.views import Export, Exporter
from recon4d.results.motion import MovingObject, Tracks

TRACKS = (
    *("point", "frame", "timestamp_s", "u", "v", "visible", "sigma_px"),
    *("x", "y", "z", "sigma", "object"),
)
"""Columns of `tracks.csv`: pixels of the working size, centre of the first one at (0, 0); places in the world."""
OBJECTS = (
    "object",
    "frame",
    "timestamp_s",
    "x",
    "y",
    "z",
    "sigma",
    "x0",
    "y0",
    "z0",
    "x1",
    "y1",
    "z1",
)
"""Columns of `objects.csv`: the middle of an object, and the corners of its box, in the world."""


def export_csv(export: Export, folder: Path) -> None:
    """A line for every point, or object, and every frame in which it is known where it is; empty: not known."""
    result = export.result
    if result.tracks is None and result.objects is None:
        raise InputError(
            "the result has neither followed points nor objects; recon4d track RESULT --tracks 2000 --objects makes "
            "them"
        )
    if result.tracks is not None:
        _write(folder / "tracks.csv", TRACKS, _track_rows(export, result.tracks))
    if result.objects is not None:
        rows = [row for item in result.objects.items for row in _object_rows(export, item)]
        _write(folder / "objects.csv", OBJECTS, rows)


def _write(path: Path, head: tuple[str, ...], rows: list[list[object]]) -> None:
    with writing(path), path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows)


def _track_rows(export: Export, tracks: Tracks) -> list[list[object]]:
    rows: list[list[object]] = []
    times = export.result.timestamps_s
    for point in range(tracks.num_points):
        for at, frame in enumerate(export.frames):
            u, v = (float(each) - 0.5 for each in tracks.uv[at, point])
            if u != u:  # not a number: nothing tells where it is
                continue
            numbers = (u, v, int(tracks.is_visible[at, point]), tracks.sigma_px[at, point])
            place = (*tracks.world[at, point], tracks.sigma[at, point])
            told = [_text(float(each)) for each in (*numbers, *place)]
            rows.append([point, frame, _text(times[at]), *told, int(tracks.object_id[point])])
    return rows


def _object_rows(export: Export, item: MovingObject) -> list[list[object]]:
    rows: list[list[object]] = []
    for at, frame in enumerate(item.frames):
        if frame in export.frames:
            time = export.result.timestamps_s[export.frames.index(frame)]
            sigma = item.path_sigma[at]
            told = [*item.path[at], float("inf") if sigma is None else sigma, *item.box[at]]
            rows.append([item.id, frame, _text(time), *(_text(each) for each in told)])
    return rows


def _text(value: float) -> str:
    """Six digits that count; nothing for what is not finite."""
    return f"{value:.9g}" if abs(value) < float("inf") else ""


def make() -> Exporter:
    """Tables, for `recon4d export`."""
    return Exporter(export_csv)
