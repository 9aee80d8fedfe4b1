"""The rooms of recon4d by floors, and what uses what: `python -m benchmarks.structure` draws `docs/floors.svg`.

The imports are read from the source text, those inside functions too, those for type checkers alone not. A room may use
rooms on lower floors only.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from benchmarks.measure.drawing import Layers, drawn

PROJECT = Path(__file__).resolve().parents[1]
PICTURE = PROJECT / "docs/floors.svg"
FOLDERS = ("recon4d", "optim", "masks")
"""What is shipped; the last two are imported as recon4d.optim and recon4d.masks."""
FLOORS: tuple[dict[str, str], ...] = (
    {"recon4d.core": "data types, geometry, stages on disk, errors; uses nothing"},
    {
        "recon4d.io": "what users bring: videos, folders, cameras, poses, masks",
        "recon4d.settings": "what a run is asked: its options, from and to text",
        "recon4d.optim": "cameras and depth from flow on static pixels",
    },
    {
        "recon4d.results": "a result in memory, as a folder, as points, as pictures",
        "recon4d.weights": "files of networks: which there are, where, read safely",
    },
    {
        "recon4d.export": "a result in the formats of other programs",
        "recon4d.viewer": "looking at a result: window, page, picture",
        "recon4d.networks": "networks: weights in, tensors out; no videos",
    },
    {
        "recon4d.flow": "how pixels move from one frame to another",
        "recon4d.priors": "what a network says of the depth of a video",
    },
    {
        "recon4d.masks": "what moves: methods, evidence, refinement",
        "recon4d.evaluate": "a result against the truth",
        "recon4d.tracks": "points followed through a result, and its moving objects",
    },
    {
        "recon4d.run": "from an input to a result: stages, rounds, long videos",
        "recon4d.masks.train": "training the networks of the masks",
    },
    {
        "recon4d.api": "reconstruct and load, for Python",
        "recon4d.pairwise": "the alignment of pairs under its old name",
        "recon4d.demo": "a small world, rendered, reconstructed, compared",
    },
    {"recon4d.cli": "the command line"},
)
"""Every room with its sentence, from the ground up."""
FACES = {
    "recon4d": "recon4d.core",
    "recon4d.choices": "recon4d.core",
    "recon4d.__main__": "recon4d.cli",
}
"""Modules that belong to a room in whose folder they do not lie; `recon4d` itself loads what it offers by name."""


def modules() -> dict[str, Path]:
    """Every module that is shipped, by the name under which it is imported."""
    paths = {path.resolve() for top in FOLDERS for path in (PROJECT / top).rglob("*.py")}
    found = {}
    for path in sorted(paths):
        parts = list(path.relative_to(PROJECT).with_suffix("").parts)
        if parts[0] != "recon4d":
            parts.insert(0, "recon4d")
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """The room of a module; a KeyError for one that no floor has."""
    if module in FACES:
        return FACES[module]
    rooms = [
        room
        for floor in FLOORS
        for room in floor
        if module == room or module.startswith(room + ".")
    ]
    if not rooms:
        raise KeyError(f"{module} is in no room of benchmarks/structure.py")
    return max(rooms, key=len)


def floor_of(room: str) -> int:
    """The floor of a room, from 1 on."""
    return next(number for number, floor in enumerate(FLOORS, start=1) if room in floor)


@cache
def imports() -> list[tuple[str, str]]:
    """Every import of one module of recon4d by another."""
    every = modules()
    return [
        (module, used)
        for module, path in every.items()
        for used in sorted(set(_imported(ast.parse(path.read_text(encoding="utf-8")), every)))
    ]


def _imported(node: ast.AST, every: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        nodes: Sequence[ast.AST] = node.orelse
    else:
        nodes = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in every)
    if isinstance(node, ast.ImportFrom) and node.module in every:
        for alias in node.names:
            inside = f"{node.module}.{alias.name}"
            yield inside if inside in every else node.module
    for inner in nodes:
        yield from _imported(inner, every)


def against_floors() -> list[tuple[str, str]]:
    """Imports that do not lead to the same room or to a lower floor."""
    return [
        (module, used)
        for module, used in imports()
        if (a := room_of(module)) != (b := room_of(used)) and floor_of(b) >= floor_of(a)
    ]


def arrows() -> set[tuple[str, str]]:
    """Which room uses which; those against the floors, too."""
    pairs = {(room_of(module), room_of(used)) for module, used in imports()}
    return {(a, b) for a, b in pairs if a != b}


def needed(every: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that do not follow from others: who uses a room may use what that one uses."""
    below: dict[str, set[str]] = {}
    for floor in FLOORS:
        for room in floor:
            direct = {b for a, b in every if a == room}
            below[room] = direct.union(*(below[b] for b in direct))
    return {(a, b) for a, b in every if not any(b in below[c] for other, c in every if other == a)}


def picture() -> str:
    """The picture as SVG."""
    every = arrows()
    down = {(a, b) for a, b in every if floor_of(b) < floor_of(a)}
    layers = Layers(FLOORS, tuple(sorted(needed(down))), tuple(sorted(every - down)))
    return drawn(layers)


def main() -> None:
    """Draw the picture and say what is against the floors."""
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{PICTURE.relative_to(PROJECT)}: {len(modules())} modules, {len(arrows())} arrows")
    for module, used in against_floors():
        print(f"against the floors: {module} -> {used}")


if __name__ == "__main__":
    main()
