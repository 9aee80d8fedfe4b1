"""How far what a run says of its camera is off, in standard deviations that it states, and what share is within one."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.measure.common import markdown_table

RIGHT = 0.6, 0.76
"""Shares within one standard deviation that count as right, where 68 % is expected (issue 21)."""
TITLES = {
    "focal": "focal length of the result",
    "lens_focal": "focal length of the lens",
    "k1": "k1",
    "centre": "principal point (x, y)",
    "readout": "readout",
}


def in_sigmas(
    run: Mapping[str, Any], camera: tuple[float, ...], focal_off: float
) -> dict[str, list[float]]:
    """Errors over their stated deviations, by what they are of; nothing that has none.

    Args:
        run: The run's `run.json`.
        camera: fx, fy, cx, cy, k1 of the pictures as they came, whose first pixel's centre is (0, 0), and the
            readout in ms.
        focal_off: Error of the result's focal length as that of these pictures, as a part.
    """
    fx, _, cx, cy, k1, readout_ms = camera
    lens, out = run.get("lens", {}), {}
    place = lens.get("camera") or [0.0] * 4
    pairs = {
        "focal": [(math.log1p(focal_off), run.get("focal_std"))],
        "lens_focal": [(math.log(place[0] / fx), lens.get("focal_std"))] if place[0] else [],
        "k1": [(term - k1, std) for term, std in _first(lens, "terms", "terms_std")],
        "centre": list(
            zip(
                (place[2] - cx - 0.5, place[3] - cy - 0.5),
                lens.get("centre_std") or (None, None),
                strict=True,
            )
        ),
        "readout": [((run.get("readout_ms") or 0.0) - readout_ms, run.get("readout_sigma_ms"))],
    }
    for name, each in pairs.items():
        told = [error / std for error, std in each if std]
        if told:
            out[name] = told
    return out


def _first(lens: Mapping[str, Any], *names: str) -> list[tuple[float, float]]:
    """The first number of each of two lists; nothing where one is not there."""
    return list(zip(*(lens.get(name, [])[:1] for name in names), strict=False))


def shares(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table over all rows: how much is within one standard deviation."""
    gathered: dict[str, list[float]] = {}
    for row in rows:
        for name, each in (row.get("in_sigmas") or {}).items():
            gathered.setdefault(name, []).extend(each)
    every = [value for each in gathered.values() for value in each]
    lines = [_line(TITLES[name], gathered[name]) for name in TITLES if name in gathered]
    header = ("of", "numbers", "within 1", "within 2", "rms")
    return markdown_table(header, [*lines, _line("all", every)] if every else [])


def _line(title: str, values: list[float]) -> tuple[str, ...]:
    count = len(values)
    near = [sum(abs(value) <= most for value in values) / count for most in (1, 2)]
    rms = math.sqrt(sum(value * value for value in values) / count)
    said = "" if RIGHT[0] <= near[0] <= RIGHT[1] else " (60 to 76 % are wanted)"
    return title, str(count), f"{near[0]:.0%}{said}", f"{near[1]:.0%}", f"{rms:.2f}"
