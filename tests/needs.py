"""What some tests need and a machine may lack: a test that lacks it is skipped, and says so in one form.

Every reason is "needs WHAT", with what to do about it in brackets; `summary` adds them up for the end of a test run.
"""

import importlib
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from recon4d.viewer.packages import mend

SHARED = Path(__file__).parents[1] / "../shared"
"""The test material: videos, sequences with truth, golden numbers. Not part of the repository."""
NO_SHARED = "needs ../shared (the test material, a folder beside the clone)"
DEBIAN_PACKAGES = {"Xvfb": "xvfb"}
"""Of programs that have another name than their package."""
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def shared_file(path: str) -> pytest.MarkDecorator:
    """Mark of tests that need a file or folder of the test material."""
    return pytest.mark.skipif(not (SHARED / path).exists(), reason=NO_SHARED)


def shared(path: str) -> Path:
    """A file or folder of the test material."""
    if not (SHARED / path).exists():
        pytest.skip(NO_SHARED)
    return (SHARED / path).resolve()


def program(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (apt-get install {DEBIAN_PACKAGES.get(name, name)})")
    return found


def open3d() -> Any:
    """The desktop viewer's package, which needs system libraries that pip does not bring."""
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        what, command = mend("open3d", error)
        lacking = "the package open3d" if what == "open3d" else "open3d's system libraries"
        pytest.skip(f"needs {lacking} ({command})")


def package(name: str, extra: str = "") -> Any:
    """A package that is no part of the core, at the head of a file or in a test."""
    how = f" (pip install 'recon4d[{extra}]')" if extra else ""
    reason = f"needs the package {name.split('.')[0]}{how}"
    return pytest.importorskip(name, reason=reason, exc_type=ImportError)


def summary(reasons: Iterable[str]) -> str | None:
    """One line on the tests that were skipped: how many for want of what. None where there were none."""
    counts = Counter(reasons)
    if not counts:
        return None
    parts = (
        f"{count} need{'s' * (count == 1)} {reason.removeprefix('needs ')}"
        if reason.startswith("needs ")
        else f"{count} because {reason}"
        for reason, count in counts.most_common()
    )
    total = counts.total()
    return f"{total} test{'s' * (total != 1)} skipped: {', '.join(parts)}"
