"""Stages that survive an interruption: the outputs of finished stages live in the partial folder as `.npy` files.

A stage's output is a frozen dataclass. Its arrays become one `.npy` file each (read back as memory maps), its other
fields go to `stage.json`. A stage folder appears under its name only when it is complete (written beside, renamed).

Numbers here that name no source were set by hand.
"""

import dataclasses
import json
import logging
import os
import resource
import shutil
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import numpy as np

from recon4d.core.arrays import map_array, save_array
from recon4d.core.scene import Notice

T = TypeVar("T")
logger = logging.getLogger(__name__)
_PLAIN, _PART, _COST, _SUMS = "stage.json", "part.json", "cost.json", "checksums.json"
_BLOCK_BYTES = 1 << 24
"""Bytes of a file that are summed at once."""


@dataclasses.dataclass(frozen=True)
class Stage(Generic[T]):
    """A stage by its name, with what it leaves."""

    name: str
    """Of the folder in which its output lies."""
    kind: type[T]
    """The frozen dataclass that it returns."""

    def run(self, folder: Path, compute: Callable[[Path], T]) -> T:
        """As `run_stage`."""
        return run_stage(folder, self.name, self.kind, compute)

    def load(self, folder: Path) -> T:
        """Its output in a run's partial folder, where it is finished."""
        return load_stage(folder / self.name, self.kind)

    def is_done(self, folder: Path) -> bool:
        """Whether its output lies in a run's partial folder."""
        return (folder / self.name).exists()


def run_stage(folder: Path, name: str, kind: type[T], compute: Callable[[Path], T]) -> T:
    """Return the stored output of a finished stage, or compute and store it.

    Args:
        folder: The run's partial folder.
        name: Name of the stage; becomes a sub-folder.
        kind: The frozen dataclass that the stage returns.
        compute: Gets the folder that will become the stage's own. It may create large arrays there as memory maps
            (file `<field>.npy`) and return them inside its result: they are then not written again.
    """
    final = folder / name
    if not final.exists():
        growing = folder / f"{name}.growing"
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(parents=True)
        began = time.perf_counter()
        _store(growing, compute(growing))
        cost = {"seconds": time.perf_counter() - began, "peak_rss_mb": peak_rss_mb()}
        (growing / _COST).write_text(json.dumps(cost))
        (growing / _SUMS).write_text(json.dumps(_checksums(growing)))
        os.replace(growing, final)
        logger.info(
            "stage %s: %.1f s, peak memory %.0f MB", name, cost["seconds"], cost["peak_rss_mb"]
        )
    else:
        logger.info("stage %s: was done before", name)
    return load_stage(final, kind)


def drop_damaged(folder: Path) -> list[str]:
    """Remove stages whose files are not as they were written, and all that were finished after them.

    Args:
        folder: The run's partial folder, or one with folders of stages in it.

    Returns:
        The names of the damaged ones.
    """
    stages = sorted((p.parent for p in folder.rglob(_SUMS)), key=lambda p: p.stat().st_mtime_ns)
    with_files = (*folder.rglob(_PLAIN), *folder.rglob(_COST))
    stages += {p.parent for p in with_files if not (p.parent / _SUMS).exists()}
    damaged = [stage for stage in stages if not _is_whole(stage)]
    if damaged:
        for stage in stages[min(stages.index(stage) for stage in damaged) :]:
            shutil.rmtree(stage)
    for path in sorted(folder.rglob("*"), reverse=True):  # the innermost first
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return [stage.name for stage in damaged]


def _is_whole(stage: Path) -> bool:
    try:
        noted = json.loads((stage / _SUMS).read_text())
        return bool(noted == _checksums(stage))
    except (OSError, ValueError):
        return False


def _checksums(stage: Path) -> dict[str, list[int]]:
    """Size and CRC-32 of every file of a stage: what tells an accident, not an attack."""
    return {
        str(path.relative_to(stage)): [path.stat().st_size, _crc32(path)]
        for path in sorted(stage.rglob("*"))
        if path.name != _SUMS and path.is_file()
    }


def _crc32(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            found = zlib.crc32(block, found)
    return found


def stage_costs(folder: Path) -> dict[str, dict[str, float]]:
    """Seconds and the process's peak memory so far of every finished stage, in the order in which they finished."""
    files = sorted(folder.glob(f"*/{_COST}"), key=lambda path: path.stat().st_mtime_ns)
    return {path.parent.name: json.loads(path.read_text()) for path in files}


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # macOS counts bytes, Linux kilobytes


def _store(folder: Path, value: Any, name: str = _PLAIN) -> None:
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        path = folder / f"{field.name}.npy"
        if isinstance(item, np.ndarray):
            if isinstance(item, np.memmap) and _is_file_of(item, path):
                item.flush()
            else:
                save_array(path, item)
        elif field.name == "notices":
            plain[field.name] = [dataclasses.asdict(notice) for notice in item]
        elif dataclasses.is_dataclass(item):  # such as the poses of a video
            (folder / field.name).mkdir()
            _store(folder / field.name, item, _PART)
        else:
            plain[field.name] = item
    (folder / name).write_text(json.dumps(plain))


def _is_file_of(array: np.memmap[Any, Any], path: Path) -> bool:
    return array.filename is not None and Path(array.filename).resolve() == path.resolve()


def load_stage(folder: Path, kind: type[T], name: str = _PLAIN) -> T:
    """Read the output of a finished stage from its folder."""
    plain = json.loads((folder / name).read_text())
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    if "notices" in values:
        values["notices"] = tuple(
            Notice(n["code"], n["message"], tuple(n["frames"])) for n in plain["notices"]
        )
    for path in folder.glob("*.npy"):
        values[path.stem] = map_array(path)  # copy on write: torch wants writable
    for path in folder.glob(f"*/{_PART}"):
        values[path.parent.name] = load_stage(path.parent, _part_of(kind, path.parent.name), _PART)
    return kind(**values)


def _part_of(kind: type, name: str) -> type:
    """The dataclass that a field of another holds, or may hold."""
    hint = get_type_hints(kind)[name]
    arms = get_args(hint) or (hint,)
    return next(arm for arm in arms if dataclasses.is_dataclass(arm) and isinstance(arm, type))
