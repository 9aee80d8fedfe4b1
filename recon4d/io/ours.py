"""What in a folder recon4d made itself. Nothing else is ever replaced or removed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

EXPORT_MARKER = "recon4d_export.json"
"""What an export says about itself: its format, and under `entries` the names of what it wrote."""
EXPORTS = "export"
"""Folder of a result in which exports are put."""
RESULT_FILES = (
    "run.json",
    "config.toml",
    "frames.txt",
    "poses.txt",
    "intrinsics.txt",
    "pose_covariance.npy",
    "preview.png",
)
"""Files of a result folder."""
RESULT_FOLDERS = {
    "images": ".jpg",
    "depth": ".npy",
    "depth_std": ".npy",
    "confidence": ".png",
    "masks": ".png",
}
"""Folders of a result with one file per frame, and how these end."""
_FRAME = re.compile(r"\d{6,}")


def is_result(folder: Path) -> bool:
    """True for a result folder of any format version."""
    run = _json(folder / "run.json")
    return run is not None and "format" in run


def strangers_in_result(folder: Path) -> Iterator[Path]:
    """What lies in a result folder that no run and no export wrote; links count, wherever they lead."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield path
        elif path.name == EXPORTS and path.is_dir():
            yield from _strangers_in_exports(path)
        elif path.name in RESULT_FOLDERS and path.is_dir():
            yield from _not_frames(path, RESULT_FOLDERS[path.name])
        elif path.name not in RESULT_FILES or path.is_dir():
            yield path


def _not_frames(folder: Path, ending: str) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_frame = _FRAME.fullmatch(path.stem) and path.suffix == ending
        if path.is_symlink() or path.is_dir() or not is_frame:
            yield path


def _strangers_in_exports(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not is_export(path):
            yield path
        else:
            yield from strangers_in_export(path)


def is_export(folder: Path) -> bool:
    """True for a folder that an export wrote."""
    marker = _json(folder / EXPORT_MARKER)
    return marker is not None and "format" in marker


def strangers_in_export(folder: Path) -> Iterator[Path]:
    """What lies in an export that it did not write, and links; an older export does not say what it wrote."""
    wrote = (_json(folder / EXPORT_MARKER) or {}).get("entries")
    for path in sorted(folder.iterdir()):
        is_ours = path.name == EXPORT_MARKER or not isinstance(wrote, list) or path.name in wrote
        if path.is_symlink() or not is_ours:
            yield path


def first_link(inner: Path, outer: Path) -> Path | None:
    """The outermost symbolic link on the way from a folder to something below it; None where there is none."""
    way = [inner, *inner.parents]
    below = way[: way.index(outer)] if outer in way else way[:1]
    return next((path for path in reversed(below) if path.is_symlink()), None)


def _json(path: Path) -> dict[str, object] | None:
    if path.is_symlink():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
