"""The folders optim/ and masks/ are imported as recon4d.optim and recon4d.masks; nothing leaks out of the package."""

import ast
import dataclasses
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import structure
from recon4d import choices

ROOT = Path(__file__).parents[1]
FOLDERS = ("optim", "masks")
PROJECTION = ("recon4d.core.geometry", "recon4d.core.pinhole")
FOCAL = {"fx", "fy", "focal", "focals", "focal_px", "intrinsics"}
LONGEST_FILE, LONGEST_FUNCTION = 350, 50
"""Lines."""
MOST_ARGUMENTS = 7
"""Of a function: more belong into a record."""


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


@pytest.mark.parametrize("page", ["README.md", "docs/CONVENTIONS.md"])
def test_python_in_documents_uses_names_that_exist(page: str) -> None:
    import recon4d

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    names = set(re.findall(r"recon4d\.(\w+)", " ".join(blocks)))
    assert names and all(hasattr(recon4d, name) for name in names)
    of_result = set(re.findall(r"result\.(\w+)", " ".join(blocks)))
    assert of_result and all(is_there(recon4d.Reconstruction, name) for name in of_result)


def is_there(kind: type, name: str) -> bool:
    """Whether a dataclass has a field, or something else, of a name."""
    return hasattr(kind, name) or name in {field.name for field in dataclasses.fields(kind)}


def test_no_room_imports_a_higher_one() -> None:
    against = [f"{module} -> {used}" for module, used in structure.against_floors()]
    assert not against, "\n".join(against)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, used in structure.imports():
        graph.setdefault(module, set()).update({used} - {module})
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
    for module, path in structure.modules().items():
        text = path.read_text()
        if (lines := text.count("\n")) > LONGEST_FILE:
            long.append(f"{module}: {lines}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{module}.{node.name}: {lines}")
                takes = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
                if len(takes - {"self", "cls"}) > MOST_ARGUMENTS:
                    long.append(f"{module}.{node.name} takes {len(takes)}")
    assert not long, "\n".join(long)


def test_projection_stands_in_two_modules_alone() -> None:
    others = [
        f"{module}: {expression}"
        for module, path in structure.modules().items()
        if module not in PROJECTION
        for expression in divisions_by_focal(ast.parse(path.read_text()))
    ]
    assert not others, "\n".join(others)


def divisions_by_focal(module: ast.Module) -> Iterator[str]:
    """Divisions by what is called a focal length, or intrinsics; the ratio of two of them is none."""
    for node in ast.walk(module):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            above, below = (names_in(side) & FOCAL for side in (node.left, node.right))
            if below and not above:
                yield ast.unparse(node)


def names_in(expression: ast.AST) -> set[str]:
    """Names of variables and attributes."""
    nodes = list(ast.walk(expression))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in nodes if isinstance(node, ast.Name)}


@pytest.mark.parametrize(
    "text, found",
    [
        ("x = (u - cx) / fx", True),
        ("x = (u - size / 2) / focal_px[frame]", True),
        ("x = 2 * width / (2 * lens.focal)", True),
        ("x = length / float(r.intrinsics[0, 0])", True),
        ("x = view_angle(width, focal)", False),
        ("x = sigma_px / self.focal_sigma", False),
        ("x = scene.intrinsics / other.intrinsics", False),
        ("path = folder / 'intrinsics.txt'", False),
    ],
)
def test_divisions_by_a_focal_length_are_found(text: str, found: bool) -> None:
    assert bool(list(divisions_by_focal(ast.parse(text)))) == found


def test_every_number_says_what_it_is() -> None:
    paths = {*structure.modules().values(), *(ROOT / "benchmarks").rglob("*.py")}
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(paths)
        for name in undocumented_numbers(ast.parse(path.read_text()))
    ]
    assert not silent, "\n".join(silent)


def undocumented_numbers(module: ast.Module) -> Iterator[str]:
    """Names of constants at a module's first level that hold numbers and have no docstring beneath them."""
    for node, following in pairwise([*module.body, ast.Pass()]):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not holds_numbers(node.value):
            continue
        name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        said = following.value if isinstance(following, ast.Expr) else None
        if name.isupper() and not (
            isinstance(said, ast.Constant) and len(str(said.value).split()) > 1
        ):
            yield name


def holds_numbers(value: ast.AST | None) -> bool:
    """Whether an expression is a number, or a table or an array with numbers in it."""
    if isinstance(value, ast.Constant):
        return type(value.value) in (int, float)
    if isinstance(value, ast.Call):  # of classes, the fields say what they are
        return ast.unparse(value.func).split(".")[-1].islower() and any(
            map(holds_numbers, value.args)
        )
    inside = ast.UnaryOp | ast.BinOp | ast.Tuple | ast.List | ast.Dict | ast.Set
    return isinstance(value, inside) and any(map(holds_numbers, ast.iter_child_nodes(value)))


@pytest.mark.parametrize(
    "text, silent",
    [
        ("SIDE = 3", ["SIDE"]),
        ('SIDE = 3\n"""Of a box, pixels."""', []),
        ('SIDE = 3\n"""Pixels."""', ["SIDE"]),
        ("A, B = (1, -2.0), (3,)", ["(A, B)"]),
        ('TABLE: dict[str, int] = {"a": 2**4}\nNAME = "name"', ["TABLE"]),
        ("AXES = np.diag([1.0, -1.0])\nKIND = Kind(1)\nROOT = Path(file).parents[1]", ["AXES"]),
    ],
)
def test_numbers_that_say_nothing_are_found(text: str, silent: list[str]) -> None:
    assert list(undocumented_numbers(ast.parse(text))) == silent


@pytest.mark.parametrize(
    "package", sorted({m for m, p in structure.modules().items() if p.stem == "__init__"})
)
def test_every_room_says_what_it_is_for(package: str) -> None:
    said = ast.get_docstring(ast.parse(structure.modules()[package].read_text())) or ""
    assert len(said) > 40 and said.splitlines()[0].endswith((".", ":")), said
