"""How capture apps and tools name the folders inside a recording, in lower case, the usual ones first."""

from collections.abc import Sequence
from pathlib import Path

COLOUR_NAMES = ("rgb", "color", "colour", "images", "image", "colors", "rgb_images", "color_images")
DEPTH_NAMES = ("depth", "depths", "depth_images", "depthmaps", "depth_maps", "depth_raw")


def subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the names that is a folder there."""
    there = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return next((there[name] for name in names if name in there), None)
