"""FBMS-59, the Freiburg-Berkeley motion segmentation data set (Ochs, Malik, Brox, PAMI 2014).

`Testset/SEQ/*.jpg` and `Trainingset/SEQ/*.jpg`; some frames have a mask in `SEQ/GroundTruth/`: `STEM_gt.ppm` in
colour (a `_gt.pgm` beside it loses objects, a `PROB` file is none: both are ignored), or `STEM_gt.png`, or where there
is neither `STEM.pgm` in grey. Every region has its value; all regions but the background move. The background is
region 0 of `*Def.dat`; where there is none, or its value does not occur, the value most frequent on the border.
"""

import re
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from recon4d.core.errors import InputError
from recon4d.masks.train.datasets.labels import read_labels
from recon4d.masks.train.datasets.layout import Layout
from recon4d.masks.train.datasets.video import LabelledVideo

LAYOUT = Layout(
    "FBMS-59 needs Testset/SEQ/*.jpg and Testset/SEQ/GroundTruth (Trainingset to train): give their folder"
)
KINDS = ("_gt.ppm", "_gt.png", ".pgm")
"""Ends of the names of masks, the best first; a sequence uses one kind."""
REGION_0 = re.compile(r"scale of region 0:?\s*(\d+)", re.IGNORECASE)
LABELLED_FRAME = re.compile(r"frame number:?\s*(\d+)\s*file name:?\s*(\S+)", re.IGNORECASE)
"""In a `*Def.dat`: the index of a frame, from 0, and the name of its mask."""


def _video(root: Path, name: str, part: str) -> LabelledVideo:
    folder = root / part / name
    frames = LAYOUT.images(folder)
    place = LAYOUT.existing(folder / "GroundTruth")
    definition = _definition(place)
    kind, masks = _masks(place)
    index_by_stem = {frame.stem: index for index, frame in enumerate(frames)}
    index_by_file = {name: int(index) for index, name in LABELLED_FRAME.findall(definition)}
    truth: list[tuple[Path, ...]] = [()] * len(frames)
    for path in masks:
        stem = path.name.removesuffix(kind).removesuffix("_gt")
        index = index_by_stem.get(stem, index_by_file.get(path.name, -1))
        if not 0 <= index < len(frames):
            raise InputError(
                f"{path} belongs to no frame of {folder}; a mask has its frame's name: remove it, or restore the frame"
            )
        truth[index] = (path,)
    region = REGION_0.search(definition)
    stated = int(region.group(1)) if region else -1
    read = partial(_moving, masks=tuple(masks), stated=stated)
    return LabelledVideo(folder.name, frames, tuple(truth), read)


def _definition(folder: Path) -> str:
    """Text of the file that lists the regions; nothing where there is none."""
    files = sorted(folder.glob("*Def.dat"))
    return files[0].read_text(encoding="latin-1") if files else ""


def _masks(folder: Path) -> tuple[str, list[Path]]:
    """The kind of masks that a sequence has, and all its masks."""
    files = sorted(path for path in folder.iterdir() if "PROB" not in path.name)
    for kind in KINDS:
        found = [path for path in files if path.name.endswith(kind)]
        if found:
            return kind, found
    raise InputError(f"{folder / ('*' + KINDS[0])} is missing; {LAYOUT.needs}")


def _moving(path: Path, masks: tuple[Path, ...], stated: int) -> Bool[np.ndarray, "height width"]:
    return np.asarray(read_labels(path) != _background(masks, stated))


@cache
def _background(masks: tuple[Path, ...], stated: int) -> int:
    """Value of the background in all masks of a sequence; `stated` is what its definition says, -1 for nothing."""
    if any((read_labels(path) == stated).any() for path in masks):
        return stated
    border = np.concatenate([_border(read_labels(path)) for path in masks])
    found, counts = np.unique(border, return_counts=True)
    return int(found[counts.argmax()])


def _border(values: Int64[np.ndarray, "height width"]) -> Int64[np.ndarray, " pixels"]:
    return np.concatenate((values[0], values[-1], values[1:-1, 0], values[1:-1, -1]))


READERS = {
    part: LAYOUT.reader(partial(_video, part=part), place=part, parts=(part,))
    for part in ("Testset", "Trainingset")
}
"""By the part of the data set."""
