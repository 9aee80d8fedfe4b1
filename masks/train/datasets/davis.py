"""DAVIS 2016 and 2017 (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017).

`JPEGImages/480p/SEQ/00000.jpg` with `Annotations/480p/SEQ/00000.png`: 0 and 255 in 2016, palette PNGs whose index is
the object in 2017; all objects together are what moves. `ImageSets/2016/val.txt` and `ImageSets/2017/val.txt` have one
name per line; the archive of 2016 has instead `ImageSets/480p/val.txt` with lines `/JPEGImages/... /Annotations/...`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.text import read_rows
from recon4d.masks.train.datasets.layout import Layout, Listed
from recon4d.masks.train.datasets.video import LabelledVideo

IMAGES, MASKS = "JPEGImages/480p", "Annotations/480p"
LAYOUT = Layout(f"DAVIS needs {IMAGES}, {MASKS} and ImageSets: give the folder that holds them")


@dataclass(frozen=True)
class Subset:
    """A list of DAVIS's sequences."""

    lists: tuple[tuple[str, ...], ...]
    """Files that are read one after the other; of each the first spelling that exists. Without suffix, in ImageSets."""
    official: int
    """Sequences of the official lists together."""
    for_training: bool = False
    """For training nothing takes the place of a missing list: a sequence of a test set could be among it."""


SUBSETS = {
    "davis16": Subset((("2016/val", "480p/val"),), 20),
    "davis17": Subset((("2017/val",),), 30),
    "davis-all": Subset((("2017/train",), ("2017/val",)), 90),
    "davis16-train": Subset((("2016/train", "480p/train"),), 30, for_training=True),
    "davis17-train": Subset((("2017/train",),), 60, for_training=True),
}


def _listed(root: Path, subset: Subset) -> Listed:
    """Names of the lists, or of all there are and a note that says so."""
    names: list[str] = []
    for spellings in subset.lists:
        paths = [root / f"ImageSets/{name}.txt" for name in spellings]
        found = next((path for path in paths if path.is_file()), None)
        if found is None and subset.for_training:
            raise InputError(f"{paths[0]} is missing; {LAYOUT.needs}")
        if found is None:
            every = LAYOUT.folders(root / IMAGES)
            note = (
                f"{paths[0].relative_to(root)} is missing: these are the {len(every)} sequences of {IMAGES}, not the "
                f"{subset.official} of the official list"
            )
            return Listed(every, (note,))
        names += [_name(line) for _, line in read_rows(found)]
    return Listed(names)


def _name(line: str) -> str:
    """The sequence of a line: a name, or the path of one of its images."""
    first = line.split()[0]
    return Path(first).parent.name if "/" in first else first


def _video(root: Path, name: str) -> LabelledVideo:
    frames = LAYOUT.images(root / IMAGES / name)
    masks = [LAYOUT.existing(root / MASKS / name / f"{frame.stem}.png") for frame in frames]
    return LabelledVideo(name, frames, tuple((mask,) for mask in masks))


READERS = {
    name: LAYOUT.reader(_video, partial(_listed, subset=subset), parts=(IMAGES, MASKS))
    for name, subset in SUBSETS.items()
}
"""By the names of `SUBSETS`."""
