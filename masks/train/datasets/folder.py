"""Anybody's videos with masks: `images/SEQ/*` with `masks/SEQ/STEM.*`, or one video as `images/*` with `masks/*`.

A mask has the name of its frame, whatever its suffix; frames without a mask are not annotated. 0 is static, anything
else moves (in lossy files the brighter half of the range); palette PNGs count by their index.
"""

from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import list_images
from recon4d.masks.train.datasets.layout import Layout, Listed, by_stem, labelled
from recon4d.masks.train.datasets.video import LabelledVideo

LAYOUT = Layout(
    "a folder needs images/SEQ/* and masks/SEQ/* (or images/* and masks/* for one video): give the folder above"
)


def _listed(root: Path) -> Listed:
    """The sub-folders; of a folder with images "", which is all of it."""
    return Listed([""] if list_images(root / "images") else LAYOUT.folders(root / "images"))


def _video(root: Path, name: str) -> LabelledVideo:
    images = root / "images" / name
    frames, masks = LAYOUT.images(images), LAYOUT.images_by_stem(root / "masks" / name)
    for stem in masks.keys() - by_stem(frames).keys():
        raise InputError(
            f"{masks[stem]} belongs to no frame of {images}; a mask has its frame's name: rename or remove it"
        )
    return labelled(name or root.resolve().name, frames, masks)


read_folder = LAYOUT.reader(_video, _listed, parts=("images", "masks"))
