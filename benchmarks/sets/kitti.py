"""KITTI's annotated depth, validation part (Uhrig et al., 3DV 2017).

Depth `DIR/val/DRIVE_sync/proj_depth/groundtruth/image_02/NNNNNNNNNN.png` (16 bit, 256 = 1 m, 0 = none) with images
`image_02/data/NNNNNNNNNN.png` of the raw data in `DIR/raw/DRIVE_sync`, `DIR/raw/DATE/DRIVE_sync` or
`DIR/DATE/DRIVE_sync`.
"""

from functools import partial
from pathlib import Path

from benchmarks.sets.protocols import Protocol
from benchmarks.sets.recordings import (
    Found,
    FoundSet,
    Frame,
    Names,
    Recording,
    Task,
    TrueDepth,
    existing,
    images_by_name,
)
from recon4d.core.errors import InputError
from recon4d.evaluate.truth import read_true_depth
from recon4d.io.options import FOLDER_FPS

DEPTH_UNITS_PER_M = 256.0
"""Value of one metre in KITTI's depth images (its development kit)."""
DATE_LENGTH = len("2011_09_26")
LAYOUT = (
    "KITTI needs val/DRIVE_sync/proj_depth/groundtruth/image_02 (annotated depth) and raw/DRIVE_sync/image_02/data "
    "(or DATE/DRIVE_sync/image_02/data): give the folder that holds both"
)


def find_kitti(root: Path, names: Names, protocol: Protocol, task: Task) -> FoundSet:
    """Find the drives of the validation part."""
    assert task == "depth", "KITTI's protocol has no poses"
    val = existing(root / "val", LAYOUT)
    if names is None:
        names = sorted(path.name for path in val.iterdir() if path.is_dir())
    if not names:
        raise InputError(f"{val} holds no drives; {LAYOUT}")
    found = []
    for name in names:
        depth = existing(val / name / "proj_depth/groundtruth/image_02", LAYOUT)
        images = _images(root, name)
        found.append(Found(name, partial(read_drive, name, depth, images, protocol)))
    return FoundSet(tuple(found))


def read_drive(name: str, depth: Path, images: Path, protocol: Protocol) -> Recording:
    """Choose the frames of a drive and find their truth.

    Raises:
        InputError: A file is missing.
    """
    files = images_by_name(depth, LAYOUT)[protocol.frames.cut()]
    frames = tuple(
        Frame(index / FOLDER_FPS, existing(images / file.name, LAYOUT))
        for index, file in enumerate(files)
    )
    wanted = protocol.frames.count
    note = "" if len(files) == wanted else f"{len(files)} of the protocol's {wanted} frames"
    return Recording(
        name,
        frames,
        depth=(TrueDepth("time", tuple(files)),),
        read_depth=partial(read_true_depth, depth_factor=DEPTH_UNITS_PER_M),
        note=note,
    )


def _images(root: Path, name: str) -> Path:
    """Folder of a drive's colour images, in any of the layouts."""
    date = name[:DATE_LENGTH]
    places = [root / "raw" / name, root / "raw" / date / name, root / date / name]
    folders = [place / "image_02/data" for place in places]
    return next((f for f in folders if f.is_dir()), None) or existing(folders[0], LAYOUT)
