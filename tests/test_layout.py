"""The folders optim/ and masks/ are imported as recon4d.optim and recon4d.masks; nothing leaks out of the package."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("optim", "masks")


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
