"""The training part of YouTube-VOS (Xu et al., ECCV 2018).

`train/JPEGImages/VIDEO/00000.jpg` with `train/Annotations/VIDEO/00000.png`, palette PNGs whose index is the object, on
every 5th frame of the video; `train/meta.json` has the names of the videos. Frames in between are used where
`train_all_frames/JPEGImages/VIDEO` is there. Not every annotated object moves, and what moves is not always annotated:
for motion, only videos of a list that was chosen for it should be read.
"""

import json
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.masks.train.datasets.layout import Layout, Listed, labelled
from recon4d.masks.train.datasets.video import LabelledVideo

LAYOUT = Layout(
    "YouTube-VOS needs train/JPEGImages, train/Annotations and train/meta.json: give the folder that holds train"
)


def _listed(root: Path) -> Listed:
    """All videos of `meta.json`, of which the keys of `videos` are read."""
    path = LAYOUT.existing(root / "train/meta.json")
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
    except (ValueError, KeyError, TypeError):
        videos = None
    if not isinstance(videos, dict):
        raise InputError(f"{path} has no object 'videos'; {LAYOUT.needs}")
    return Listed(sorted(videos))


def _video(root: Path, name: str) -> LabelledVideo:
    every = root / "train_all_frames/JPEGImages" / name
    frames = LAYOUT.images(every if every.is_dir() else root / "train/JPEGImages" / name)
    return labelled(name, frames, LAYOUT.images_by_stem(root / "train/Annotations" / name))


read_youtube_vos = LAYOUT.reader(_video, _listed)
