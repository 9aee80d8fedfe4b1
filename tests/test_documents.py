"""What the documents name is there: modules, files, links, options, commands; made pages are as they would be made."""

import ast
import re
import xml.etree.ElementTree as ET
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import results_page, structure
from recon4d.cli.parser import parse
from recon4d.settings.config import RunConfig

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("masks/*/data/*.md"))
)
MODULES = structure.modules()


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something that one defines; nothing is imported."""
    module, _, inside = name.rpartition(".")
    if name in MODULES:
        return True
    return module in MODULES and inside in defined(MODULES[module])


def defined(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {results_page.anchor(title) for title in titles}


def test_the_readme_is_short() -> None:
    lines = text_of("README.md").splitlines()
    assert len(lines) <= 120
    assert max(len(line) for line in lines) <= 150


@pytest.mark.parametrize("name", DOCUMENTS)
def test_modules_are_where_documents_say(name: str) -> None:
    found = set(re.findall(r"`(recon4d(?:\.[A-Za-z_]\w*)+)", text_of(name)))
    assert not {each for each in found if not exists(each)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_are_where_documents_say(name: str) -> None:
    tops = "benchmarks|docs|masks|optim|recon4d|tests"
    named = re.findall(rf"`((?:{tops})/[\w/.-]*)`", text_of(name))
    assert not [each for each in named if not (ROOT / each).exists() and "NAME" not in each]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    missing = []
    for link in re.findall(r"\]\((?!\w+:)([^)]+)\)", text_of(name)):
        place, _, anchor = link.partition("#")
        target = (ROOT / name).parent / place if place else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_options_are_those_of_the_commands(name: str) -> None:
    sources = [*(ROOT / "recon4d/cli").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    known = set(re.findall(r"--[a-z][a-z0-9-]+", code)) | {"--help"}
    known |= {"--" + each.name.replace("_", "-") for each in fields(RunConfig)}
    ours = re.sub(r"pip install [^`\n]*", "", text_of(name))
    assert not set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", ours)) - known


def test_commands_of_the_readme_are_understood() -> None:
    commands = re.findall(r"`(?:\.venv/bin/)?recon4d ([a-z][^`]*)`", text_of("README.md"))
    assert len(commands) > 15
    for command in commands:
        parse(command.split())


def test_results_are_on_the_page_as_the_benchmarks_wrote_them() -> None:
    made = results_page.PAGE.read_text(encoding="utf-8") == results_page.assembled()
    assert made, "python -m benchmarks.results_page makes it"


def test_pages_keep_their_code_and_get_lower_headings_and_links_from_docs() -> None:
    page = (
        "# A\n\n[x](loop.md), [y](../../docs/masks.jpg), [z](#a), [w](https://a.b)\n```\n# b\n```"
    )
    lowered = results_page.lowered(page).splitlines()
    assert lowered[0] == "## A" and lowered[4] == "# b"
    assert (
        lowered[2] == "[x](../benchmarks/pages/loop.md), [y](masks.jpg), [z](#a), [w](https://a.b)"
    )


def test_every_room_has_its_sentence_in_contributing() -> None:
    rows = re.findall(
        r"^\| (\d+) \| `([\w.]+)` \| (.*) \|$", text_of("CONTRIBUTING.md"), re.MULTILINE
    )
    rooms = {
        (str(number), room, sentence)
        for number, floor in enumerate(structure.FLOORS, start=1)
        for room, sentence in floor.items()
    }
    assert set(rows) == rooms and len(rows) == len(rooms)


def test_the_picture_of_the_floors_is_that_of_the_imports() -> None:
    drawn = structure.picture()
    ET.fromstring(drawn)
    same = structure.PICTURE.read_text(encoding="utf-8") == drawn
    assert same, "python -m benchmarks.structure draws it"


def test_arrows_that_follow_from_others_are_not_needed() -> None:
    every = {
        ("recon4d.run", "recon4d.flow"),
        ("recon4d.flow", "recon4d.core"),
        ("recon4d.run", "recon4d.core"),
    }
    assert structure.needed(every) == every - {("recon4d.run", "recon4d.core")}
