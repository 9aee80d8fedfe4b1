"""FlyingThings3D (Mayer et al., CVPR 2016), with masks of what moves that the user adds.

`frames_cleanpass/TRAIN/A/0000/left/0006.png` is official. `object_index` numbers objects and does not say which of them
move, and motion from `optical_flow`, `disparity_change` and `camera_data` is not computed here. What moves is read from
`segmentation/TRAIN/A/0000/left/0006.png` (0 = static, anything else = moves; the index of palette PNGs); without these
masks the data set is refused.
"""

from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.masks.train.datasets.video import (
    Dataset,
    LabelledVideo,
    Names,
    by_stem,
    files_of,
    folders_in,
    images_in,
)

IMAGES, MASKS = "frames_cleanpass/TRAIN", "segmentation/TRAIN"
LAYOUT = f"FlyingThings3D needs {IMAGES}/A/0000/left/0006.png: give the folder that holds frames_cleanpass"


def read_flying_things(root: Path, names: Names = None) -> Dataset:
    """Find sequences of the left camera.

    Args:
        root: Holds `frames_cleanpass` and `segmentation`.
        names: Sequences such as `A/0000`; without, all that there are.

    Raises:
        InputError: The first path that is missing.
    """
    if names is None:
        groups = folders_in(root / IMAGES, LAYOUT)
        names = [f"{g.name}/{folder.name}" for g in groups for folder in folders_in(g, LAYOUT)]
    return Dataset(tuple(_video(root, name) for name in dict.fromkeys(names)))


def _video(root: Path, name: str) -> LabelledVideo:
    frames = images_in(root / IMAGES / name / "left", LAYOUT)
    place = root / MASKS / name / "left"
    if not place.is_dir():
        raise InputError(
            f"{place} is missing; FlyingThings3D's object_index does not say what moves: put masks there, named as the "
            "frames, 0 where it is static"
        )
    masks = by_stem(images_in(place, LAYOUT))
    return LabelledVideo(name, frames, tuple(files_of(frame.stem, masks) for frame in frames))
