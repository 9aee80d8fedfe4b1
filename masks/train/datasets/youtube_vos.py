"""The training part of YouTube-VOS (Xu et al., ECCV 2018).

`train/JPEGImages/VIDEO/00000.jpg` with `train/Annotations/VIDEO/00000.png`, palette PNGs whose index is the object, on
every 5th frame of the video; `train/meta.json` has the names of the videos. Frames in between are used where
`train_all_frames/JPEGImages/VIDEO` is there. Not every annotated object moves, and what moves is not always annotated:
for motion, only videos of a list that was chosen for it should be read.
"""

import json
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.masks.train.datasets.video import (
    Dataset,
    LabelledVideo,
    Names,
    by_stem,
    existing,
    files_of,
    images_in,
)

LAYOUT = "YouTube-VOS needs train/JPEGImages, train/Annotations and train/meta.json: give the folder that holds train"


def read_youtube_vos(root: Path, names: Names = None) -> Dataset:
    """Find videos of YouTube-VOS; their annotated objects count as what moves.

    Args:
        root: Holds `train`.
        names: The videos of a motion subset; without, all of `meta.json`, of which the keys of `videos` are read.

    Raises:
        InputError: The first path that is missing, or a file of another form.
    """
    if names is None:
        names = _listed(existing(root / "train/meta.json", LAYOUT))
    return Dataset(tuple(_video(root, name) for name in dict.fromkeys(names)))


def _listed(path: Path) -> list[str]:
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
    except (ValueError, KeyError, TypeError):
        videos = None
    if not isinstance(videos, dict):
        raise InputError(f"{path} has no object 'videos'; {LAYOUT}")
    return sorted(videos)


def _video(root: Path, name: str) -> LabelledVideo:
    every = root / "train_all_frames/JPEGImages" / name
    frames = images_in(every if every.is_dir() else root / "train/JPEGImages" / name, LAYOUT)
    masks = by_stem(images_in(root / "train/Annotations" / name, LAYOUT))
    return LabelledVideo(name, frames, tuple(files_of(frame.stem, masks) for frame in frames))
