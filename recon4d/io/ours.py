"""What in a folder recon4d made itself. Nothing else is ever replaced or removed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

EXPORT_MARKER = "recon4d_export.json"
"""What an export says about itself: its format, and under `entries` the paths in it of all files that it wrote."""
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
    "overlay.png",
    "tracks.npz",
    "objects.json",
)
"""Files of a result folder."""
RESULT_FOLDERS = {
    "images": ".jpg",
    "depth": ".npy",
    "depth_std": ".npy",
    "confidence": ".png",
    "masks": ".png",
    "objects": ".png",
    "scene_flow": ".npy",
}
"""Folders of a result with one file per frame, and how these end."""
OPTIONAL_FOLDERS = ("depth_std", "objects", "scene_flow")
"""Those that a result may lack: it is of an earlier version, or they were not asked for."""
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that file managers leave in every folder they show; nobody misses them."""
_FRAME = re.compile(r"\d{6,}")


def is_result(folder: Path) -> bool:
    """True for a result folder of any format version."""
    run = _json(folder / "run.json")
    return run is not None and "format" in run


def lacks_run(folder: Path) -> bool:
    """True for what looks like a result folder without its `run.json`."""
    texts = ("frames.txt", "poses.txt", "intrinsics.txt")
    return not (folder / "run.json").exists() and all((folder / n).is_file() for n in texts)


def strangers_in_result(folder: Path) -> Iterator[Path]:
    """What lies in a result folder that no run and no export wrote; links count, wherever they lead."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield path
        elif path.name == EXPORTS and path.is_dir():
            yield from _strangers_in_exports(path)
        elif path.name in RESULT_FOLDERS and path.is_dir():
            yield from _not_frames(path, RESULT_FOLDERS[path.name])
        elif path.name not in (*RESULT_FILES, *LITTER) or path.is_dir():
            yield path


def _not_frames(folder: Path, ending: str) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_frame = (_FRAME.fullmatch(path.stem) and path.suffix == ending) or path.name in LITTER
        if path.is_symlink() or path.is_dir() or not is_frame:
            yield path


def _strangers_in_exports(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in LITTER and path.is_file():
            continue
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
    ours = {EXPORT_MARKER, *map(str, wrote)} if isinstance(wrote, list) else None
    for path in sorted(folder.rglob("*")):
        is_empty = path.is_dir() and not any(path.iterdir())
        is_leaf = is_empty or not path.is_dir()
        is_ours = ours is None or path.name in LITTER or path.relative_to(folder).as_posix() in ours
        if path.is_symlink() or (is_leaf and not is_ours):
            yield path


def written_files(folder: Path) -> Iterator[str]:
    """The paths inside a folder of all that is not a folder with something in it."""
    for path in folder.rglob("*"):
        if not path.is_dir() or not any(path.iterdir()):
            yield path.relative_to(folder).as_posix()


def first_link(inner: Path, outer: Path) -> Path | None:
    """The outermost symbolic link on the way from a folder to something below it; None where there is none."""
    way = [inner, *inner.parents]
    below = way[: way.index(outer)] if outer in way else way[:1]
    return next((path for path in reversed(below) if path.is_symlink()), None)


def _json(path: Path) -> dict[str, object] | None:
    if path.is_symlink() or not path.is_file():  # a pipe would be waited for
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
