"""SegTrackV2 (Li et al., ICCV 2013).

`ImageSets/all.txt` has the names (a leading `*` does not belong to them), `ImageSets/SEQ.txt` the folder and then the
stems of the frames. `JPEGImages/SEQ/STEM.*` with `GroundTruth/SEQ/STEM.*`, or with `GroundTruth/SEQ/1/STEM.*`,
`2/STEM.*` and so on where there are several objects, whose union moves. Suffixes differ, even between images and masks.
"""

from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.text import read_rows
from recon4d.masks.train.datasets.video import (
    Dataset,
    LabelledVideo,
    Names,
    by_stem,
    existing,
    images_in,
)

LAYOUT = "SegTrackV2 needs ImageSets, JPEGImages and GroundTruth: give the folder that holds them"


def read_segtrack(root: Path, names: Names = None) -> Dataset:
    """Find the sequences of SegTrackV2; every frame of their lists has a mask.

    Raises:
        InputError: The first path that is missing.
    """
    for folder in ("ImageSets", "JPEGImages", "GroundTruth"):
        existing(root / folder, LAYOUT)
    if names is None:
        lines = read_rows(existing(root / "ImageSets/all.txt", LAYOUT))
        names = [line.lstrip("*").strip() for _, line in lines]
    return Dataset(tuple(_video(root, name) for name in dict.fromkeys(names)))


def _video(root: Path, name: str) -> LabelledVideo:
    path = existing(root / f"ImageSets/{name}.txt", LAYOUT)
    lines = [line for _, line in read_rows(path)]
    if len(lines) < 2:
        raise InputError(
            f"{path} lists no frames; a folder and then one frame per line was needed: restore it"
        )
    place, *stems = lines[0].strip("/"), *lines[1:]
    images = by_stem(images_in(root / "JPEGImages" / place, LAYOUT))
    masks = [by_stem(images_in(f, LAYOUT)) for f in _objects(root / "GroundTruth" / place)]
    frames = tuple(_file(images, stem, root / "JPEGImages" / place) for stem in stems)
    truth = tuple(
        tuple(_file(files, stem, root / "GroundTruth" / place) for files in masks) for stem in stems
    )
    return LabelledVideo(name, frames, truth)


def _objects(folder: Path) -> list[Path]:
    """Folders with the masks of one object each."""
    inside = [path for path in existing(folder, LAYOUT).iterdir() if path.is_dir()]
    numbered = [path for path in inside if path.name.isdecimal()]
    return sorted(numbered, key=lambda path: int(path.name)) or [folder]


def _file(files: dict[str, Path], stem: str, folder: Path) -> Path:
    if stem not in files:
        some = next(iter(files.values()))
        return existing(some.with_name(stem + some.suffix), LAYOUT)
    return files[stem]
