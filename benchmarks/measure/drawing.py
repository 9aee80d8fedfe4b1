"""A drawing of boxes on floors with arrows between them, as SVG: ordered so that few arrows cross.

Numbers here that name no source were set by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from xml.sax.saxutils import escape

BOX_WIDTH, BOX_HEIGHT, FLOOR_HEIGHT = 172, 64, 104
"""Sides of a room, and from one floor to the next, pixels."""
LANE_WIDTH, GAP, MARGIN = 14, 18, 60
"""Of an arrow that passes a floor, between things on a floor, and around all, pixels."""
LINE_LETTERS, LINE_HEIGHT = 26, 13
"""Letters of a line of small text, and pixels from one to the next."""
SWEEPS = 24
"""Times that every floor is ordered and placed anew by its neighbours."""

Node = tuple[str, int]
"""A box, or an arrow (`a>b`) where it passes a floor; and the floor, from 0 on."""


@dataclass(frozen=True)
class Layers:
    """What is drawn."""

    floors: tuple[Mapping[str, str], ...]
    """Name and text of every box, from the ground up."""
    arrows: tuple[tuple[str, str], ...]
    """From a box to one on a lower floor."""
    wrong: tuple[tuple[str, str], ...] = ()
    """Arrows that do not lead down."""

    def floor(self, name: str) -> int:
        """The floor of a box, from 0 on."""
        return next(at for at, floor in enumerate(self.floors) if name in floor)

    def path(self, start: str, end: str) -> list[Node]:
        """A box, where its arrow passes the floors below, and the box at its end."""
        top, bottom = self.floor(start), self.floor(end)
        between = [(f"{start}>{end}", at) for at in range(top - 1, bottom, -1)]
        return [(start, top), *between, (end, bottom)]

    def segments(self) -> list[tuple[Node, Node]]:
        """All arrows, cut at the floors: (above, below)."""
        paths = [self.path(a, b) for a, b in self.arrows]
        return [pair for path in paths for pair in pairwise(path)]


def drawn(layers: Layers) -> str:
    """The drawing."""
    rows = _ordered(layers)
    places = _placed(layers, rows)
    left = min(places[node] - _width(node) / 2 for row in rows for node in row)
    right = max(places[node] + _width(node) / 2 for row in rows for node in row)
    places = {node: x - left + MARGIN for node, x in places.items()}
    width = round(right - left + 1.5 * MARGIN)
    height = FLOOR_HEIGHT * len(rows) + 20
    top = {at: 20 + FLOOR_HEIGHT * (len(rows) - 1 - at) for at in range(len(rows))}
    parts = [_head(width, height)]
    parts += [_floor(at, top[at], width) for at in range(len(rows))]
    parts += [_arrow(layers.path(a, b), places, top) for a, b in layers.arrows]
    parts += [_wrong(layers, pair, places, top) for pair in layers.wrong]
    for at, floor in enumerate(layers.floors):
        parts += [_box(name, text, places[name, at], top[at]) for name, text in floor.items()]
    return "\n".join([*parts, "</svg>", ""])


def _width(node: Node) -> int:
    return LANE_WIDTH if ">" in node[0] else BOX_WIDTH


def _ordered(layers: Layers) -> list[list[Node]]:
    """The floors with the order on each that makes the fewest crossings among those that were tried."""
    segments = layers.segments()
    passing = {node for pair in segments for node in pair if ">" in node[0]}
    rows = [
        [(name, at) for name in floor] + sorted(node for node in passing if node[1] == at)
        for at, floor in enumerate(layers.floors)
    ]
    best, fewest = rows, _crossings(rows, segments)
    for sweep in range(SWEEPS):
        upwards = sweep % 2 == 0
        for at in range(1, len(rows)) if upwards else range(len(rows) - 2, -1, -1):
            beside = rows[at - 1 if upwards else at + 1]
            share = {node: (k + 0.5) / len(beside) for k, node in enumerate(beside)}
            now = {node: (k + 0.5) / len(rows[at]) for k, node in enumerate(rows[at])}
            middle = {node: _mean(node, segments, share, now[node]) for node in rows[at]}
            rows = [*rows[:at], sorted(rows[at], key=middle.__getitem__), *rows[at + 1 :]]
        crossings = _crossings(rows, segments)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _mean(
    node: Node, segments: list[tuple[Node, Node]], places: Mapping[Node, float], default: float
) -> float:
    """Mean place of the neighbours that have one."""
    found = [places[b] for a, b in segments if a == node and b in places]
    found += [places[a] for a, b in segments if b == node and a in places]
    return sum(found) / len(found) if found else default


def _crossings(rows: list[list[Node]], segments: list[tuple[Node, Node]]) -> int:
    at = {node: k for row in rows for k, node in enumerate(row)}
    return sum(
        (at[a] - at[c]) * (at[b] - at[d]) < 0
        for k, (a, b) in enumerate(segments)
        for c, d in segments[:k]
        if a[1] == c[1]
    )


def _placed(layers: Layers, rows: list[list[Node]]) -> dict[Node, float]:
    """Centres, pixels: near those of the neighbours, in the order of each floor, without overlap."""
    segments = layers.segments()
    places = {node: BOX_WIDTH * k * 1.0 for row in rows for k, node in enumerate(row)}
    for _ in range(SWEEPS):
        for row in rows:
            wanted = [_mean(node, segments, places, places[node]) for node in row]
            places.update(zip(row, _apart(wanted, [_width(node) for node in row]), strict=True))
    return places


def _apart(wanted: list[float], widths: list[int]) -> list[float]:
    """The centres nearest to the wanted ones (least squares) that keep order and distance."""
    offsets = [0.0]
    for a, b in pairwise(widths):
        offsets.append(offsets[-1] + (a + b) / 2 + GAP)
    pools: list[tuple[float, int]] = []  # mean and size of neighbours that touch
    for value, offset in zip(wanted, offsets, strict=True):
        mean, size = value - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]


def _head(width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Helvetica, sans-serif" font-size="11">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#456"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    )


def _floor(at: int, top: int, width: int) -> str:
    shade = "#f2f5f8" if at % 2 == 0 else "#fafbfc"
    return (
        f'<rect x="0" y="{top - 20}" width="{width}" height="{FLOOR_HEIGHT}" fill="{shade}"/>\n'
        f'<text x="16" y="{top + BOX_HEIGHT // 2 + 6}" font-size="18" fill="#89a">{at + 1}</text>'
    )


def _box(name: str, text: str, x: float, top: int) -> str:
    left = round(x - BOX_WIDTH / 2)
    lines = [
        f'<text x="{left + 8}" y="{top + 31 + LINE_HEIGHT * k}" fill="#333">{escape(line)}</text>'
        for k, line in enumerate(wrap(text, LINE_LETTERS))
    ]
    return "\n".join(
        [
            f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5" fill="#fff" stroke="#456"/>',
            f'<text x="{left + 8}" y="{top + 17}" font-size="13" font-weight="bold" fill="#123">'
            f"{escape(name.removeprefix('recon4d.'))}</text>",
            *lines,
        ]
    )


def _arrow(path: list[Node], places: Mapping[Node, float], top: Mapping[int, int]) -> str:
    """A curve from box to box, straight down where it passes a floor."""
    (first, *between, last) = path
    x, y = round(places[first]), top[first[1]] + BOX_HEIGHT
    steps = [f"M{x} {y}"]
    for node in (*between, last):
        there, under = round(places[node]), top[node[1]]
        bend = (y + under) // 2
        steps.append(f"C{x} {bend} {there} {bend} {there} {under}")
        x, y = there, under + BOX_HEIGHT
        if node != last:
            steps.append(f"L{x} {y}")
    return f'<path d="{" ".join(steps)}" fill="none" stroke="#456" marker-end="url(#tip)"/>'


def _wrong(
    layers: Layers, pair: tuple[str, str], places: Mapping[Node, float], top: Mapping[int, int]
) -> str:
    """A straight dashed line, red."""
    (x0, y0), (x1, y1) = (
        (round(places[name, at]), top[at] + BOX_HEIGHT // 2)
        for name in pair
        for at in [layers.floor(name)]
    )
    return f'<path d="M{x0} {y0} L{x1} {y1}" fill="none" stroke="#c22" stroke-dasharray="5 4"/>'
