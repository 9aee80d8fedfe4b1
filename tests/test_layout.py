"""The folders optim/ and masks/ are imported as recon4d.optim and recon4d.masks; nothing leaks out of the package."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from recon4d import choices

ROOT = Path(__file__).parents[1]
FOLDERS = ("optim", "masks")
FLOORS = (
    ("recon4d", "recon4d.choices", "recon4d.core"),
    ("recon4d.settings", "recon4d.io", "recon4d.optim"),
    ("recon4d.weights", "recon4d.results"),
    ("recon4d.networks", "recon4d.export", "recon4d.viewer", "recon4d.evaluate"),
    ("recon4d.flow", "recon4d.priors"),
    ("recon4d.masks",),
    ("recon4d.run", "recon4d.masks.train"),
    ("recon4d.api", "recon4d.demo", "recon4d.pairwise"),
    ("recon4d.cli",),
    ("recon4d.__main__",),
)
"""Rooms from the ground up: a module imports its own room and rooms of lower floors, inside functions, too."""
LONGEST_FILE, LONGEST_FUNCTION = 350, 50
"""Lines."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_link_points_at_the_top_level_folder(folder: str) -> None:
    link = ROOT / "recon4d" / folder
    assert link.is_symlink() and link.resolve() == (ROOT / folder).resolve()


def test_every_package_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("recon4d", *FOLDERS)
        for path in (ROOT / top).rglob("__init__.py")
    }
    found = {name if name.startswith("recon4d") else f"recon4d.{name}" for name in found}
    assert set(project["tool"]["setuptools"]["packages"]) == found


@pytest.mark.parametrize("folder", FOLDERS)
def test_importing_a_folder_by_its_own_name_is_refused(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and f"import recon4d.{folder}, not {folder}" in done.stderr


def test_readme_has_each_command_as_one_line_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text().splitlines()
    script = (ROOT / ".ci/run").read_text()
    starts = re.findall(r"readme_command '([^']+)'", script)
    assert sorted(set(starts)) == ["sh install.sh && ", "sh install.sh dev && "]
    for start in starts:
        assert len([line for line in readme if line.startswith(start)]) == 1


def test_python_in_readme_uses_names_that_exist() -> None:
    import recon4d

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    names = set(re.findall(r"recon4d\.(\w+)", " ".join(blocks)))
    assert names and all(hasattr(recon4d, name) for name in names)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, and its file."""
    found = {}
    for top in ("recon4d", *FOLDERS):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts if parts[0] == "recon4d" else ("recon4d", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, in functions, too; not for a type checker alone."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                whole = f"{node.module}.{each.name}"
                yield whole if whole in modules() else node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def floor_and_room(module: str) -> tuple[int, str]:
    """The floor of a module, and the room that it is in: the longest name that fits."""
    fitting = [
        (len(room), floor, room)
        for floor, rooms in enumerate(FLOORS)
        for room in rooms
        if module == room or (room != "recon4d" and module.startswith(f"{room}."))
    ]
    assert fitting, f"{module} is in no room of FLOORS"
    _, floor, room = max(fitting)
    return floor, room


def test_no_room_imports_a_higher_one() -> None:
    against = []
    for module, path in modules().items():
        floor, room = floor_and_room(module)
        for other in sorted(set(imports(path)) & set(modules())):
            its_floor, its_room = floor_and_room(other)
            if its_room != room and its_floor >= floor:
                against.append(f"{module} -> {other}")
    assert not against, "\n".join(against)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {other for other in imports(path) if other in modules() and other != module}
        for module, path in modules().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("option", sorted(choices.GROUPS))
def test_every_method_in_the_table_can_be_made(option: str) -> None:
    for name, entry in choices.GROUPS[option].items():
        assert entry.module is None or callable(import_module(entry.module).make), name
        assert entry.tokens is None or callable(import_module(entry.tokens).tokens), name


def test_files_and_functions_are_short() -> None:
    long = []
    for module, path in modules().items():
        text = path.read_text()
        if (lines := text.count("\n")) > LONGEST_FILE:
            long.append(f"{module}: {lines}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{module}.{node.name}: {lines}")
    assert not long, "\n".join(long)


@pytest.mark.parametrize(
    "package", sorted({m for m, p in modules().items() if p.stem == "__init__"})
)
def test_every_room_says_what_it_is_for(package: str) -> None:
    said = ast.get_docstring(ast.parse(modules()[package].read_text())) or ""
    assert len(said) > 40 and said.splitlines()[0].endswith((".", ":")), said
