"""FlyingThings3D (Mayer et al., CVPR 2016), with masks of what moves that the user adds.

`frames_cleanpass/TRAIN/A/0000/left/0006.png` is official. `object_index` numbers objects and does not say which of them
move, and motion from `optical_flow`, `disparity_change` and `camera_data` is not computed here. What moves is read from
`segmentation/TRAIN/A/0000/left/0006.png` (0 = static, anything else = moves; the index of palette PNGs); without these
masks the data set is refused.
"""

from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.masks.train.datasets.layout import Layout, Listed, labelled
from recon4d.masks.train.datasets.video import LabelledVideo

IMAGES, MASKS = "frames_cleanpass/TRAIN", "segmentation/TRAIN"
LAYOUT = Layout(
    f"FlyingThings3D needs {IMAGES}/A/0000/left/0006.png: give the folder that holds frames_cleanpass"
)


def _listed(root: Path) -> Listed:
    """Sequences such as `A/0000`."""
    groups = LAYOUT.folders(root / IMAGES)
    return Listed([f"{g}/{name}" for g in groups for name in LAYOUT.folders(root / IMAGES / g)])


def _video(root: Path, name: str) -> LabelledVideo:
    """A sequence of the left camera."""
    frames = LAYOUT.images(root / IMAGES / name / "left")
    place = root / MASKS / name / "left"
    if not place.is_dir():
        raise InputError(
            f"{place} is missing; FlyingThings3D's object_index does not say what moves: put masks there, named as the "
            "frames, 0 where it is static"
        )
    return labelled(name, frames, LAYOUT.images_by_stem(place))


read_flying_things = LAYOUT.reader(_video, _listed)
