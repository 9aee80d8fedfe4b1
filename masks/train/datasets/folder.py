"""Anybody's videos with masks: `images/SEQ/*` with `masks/SEQ/STEM.*`, or one video as `images/*` with `masks/*`.

A mask has the name of its frame, whatever its suffix; frames without a mask are not annotated. 0 is static, anything
else moves (in lossy files the brighter half of the range); palette PNGs count by their index.
"""

from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.io.pictures.files import list_images
from recon4d.masks.train.datasets.video import (
    Dataset,
    LabelledVideo,
    Names,
    by_stem,
    existing,
    files_of,
    folders_in,
    images_in,
)

LAYOUT = "a folder needs images/SEQ/* and masks/SEQ/* (or images/* and masks/* for one video): give the folder above"


def read_folder(root: Path, names: Names = None) -> Dataset:
    """Find videos in a folder; one without sub-folders is a video with the name of the folder.

    Raises:
        InputError: The first path that is missing, or a mask without its frame.
    """
    existing(root / "images", LAYOUT)
    existing(root / "masks", LAYOUT)
    if list_images(root / "images") and names is None:
        return Dataset((_video(root.resolve().name, root / "images", root / "masks"),))
    if names is None:
        names = [folder.name for folder in folders_in(root / "images", LAYOUT)]
    names = tuple(dict.fromkeys(names))
    videos = [_video(name, root / "images" / name, root / "masks" / name) for name in names]
    return Dataset(tuple(videos))


def _video(name: str, images: Path, masks: Path) -> LabelledVideo:
    frames, files = images_in(images, LAYOUT), by_stem(images_in(masks, LAYOUT))
    for stem in files.keys() - by_stem(frames).keys():
        raise InputError(
            f"{files[stem]} belongs to no frame of {images}; a mask has its frame's name: rename or remove it"
        )
    return LabelledVideo(name, frames, tuple(files_of(frame.stem, files) for frame in frames))
