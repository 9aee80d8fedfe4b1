"""SegTrackV2 (Li et al., ICCV 2013).

`ImageSets/all.txt` has the names (a leading `*` does not belong to them), `ImageSets/SEQ.txt` the folder and then the
stems of the frames. `JPEGImages/SEQ/STEM.*` with `GroundTruth/SEQ/STEM.*`, or with `GroundTruth/SEQ/1/STEM.*`,
`2/STEM.*` and so on where there are several objects, whose union moves. Suffixes differ, even between images and masks.
"""

from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.text import read_rows
from recon4d.masks.train.datasets.layout import Layout, Listed
from recon4d.masks.train.datasets.video import LabelledVideo

LAYOUT = Layout(
    "SegTrackV2 needs ImageSets, JPEGImages and GroundTruth: give the folder that holds them"
)


def _listed(root: Path) -> Listed:
    lines = read_rows(LAYOUT.existing(root / "ImageSets/all.txt"))
    return Listed([line.lstrip("*").strip() for _, line in lines])


def _video(root: Path, name: str) -> LabelledVideo:
    """A sequence, of which every frame of its list has a mask."""
    path = LAYOUT.existing(root / f"ImageSets/{name}.txt")
    lines = [line for _, line in read_rows(path)]
    if len(lines) < 2:
        raise InputError(
            f"{path} lists no frames; a folder and then one frame per line was needed: restore it"
        )
    place, *stems = lines[0].strip("/"), *lines[1:]
    images = LAYOUT.images_by_stem(root / "JPEGImages" / place)
    masks = [LAYOUT.images_by_stem(f) for f in _objects(root / "GroundTruth" / place)]
    frames = tuple(_file(images, stem) for stem in stems)
    truth = tuple(tuple(_file(files, stem) for files in masks) for stem in stems)
    return LabelledVideo(name, frames, truth)


def _objects(folder: Path) -> list[Path]:
    """Folders with the masks of one object each."""
    inside = [path for path in LAYOUT.existing(folder).iterdir() if path.is_dir()]
    numbered = [path for path in inside if path.name.isdecimal()]
    return sorted(numbered, key=lambda path: int(path.name)) or [folder]


def _file(files: dict[str, Path], stem: str) -> Path:
    if stem not in files:
        some = next(iter(files.values()))
        return LAYOUT.existing(some.with_name(stem + some.suffix))
    return files[stem]


read_segtrack = LAYOUT.reader(_video, _listed, parts=("ImageSets", "JPEGImages", "GroundTruth"))
