"""Videos that the scripts of Kubric's MOVi rendered (Greff et al., CVPR 2022), one folder each, not its TFDS exports.

`rgba_00000.png` with `segmentation_00000.png`, whose palette index is 0 for the background and k for the k-th of the
visible `instances` of `metadata.json`, counted from 1. Of each instance `is_dynamic` is read, which the scripts of
MOVi-D, E and F write: True for objects that were thrown, False for those that were put there; nothing else is read.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.errors import InputError
from recon4d.masks.train.datasets.labels import read_labels
from recon4d.masks.train.datasets.layout import Layout
from recon4d.masks.train.datasets.video import LabelledVideo

LAYOUT = Layout(
    "MOVi needs SCENE/metadata.json, SCENE/rgba_00000.png and SCENE/segmentation_00000.png as Kubric's scripts write "
    "them: give the folder that holds the scenes"
)


def _video(root: Path, name: str) -> LabelledVideo:
    folder = root / name
    dynamic = _dynamic(LAYOUT.existing(folder / "metadata.json"))
    frames = tuple(sorted(folder.glob("rgba_*.png")))
    if not frames:
        raise InputError(f"{folder / 'rgba_00000.png'} is missing; {LAYOUT.needs}")
    masks = [folder / frame.name.replace("rgba_", "segmentation_") for frame in frames]
    truth = tuple((LAYOUT.existing(path),) for path in masks)
    return LabelledVideo(folder.name, frames, truth, partial(_moving, dynamic=dynamic))


def _dynamic(path: Path) -> tuple[int, ...]:
    """Labels of the instances that move."""
    try:
        instances = json.loads(path.read_text(encoding="utf-8"))["instances"]
        flags = [instance["is_dynamic"] for instance in instances]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} does not say of every instance whether it is_dynamic; render with the scripts of MOVi-D, E or F, "
            "or add it"
        ) from None
    return tuple(label for label, is_dynamic in enumerate(flags, start=1) if is_dynamic)


def _moving(path: Path, dynamic: tuple[int, ...]) -> Bool[np.ndarray, "height width"]:
    return np.isin(read_labels(path), dynamic)


read_movi = LAYOUT.reader(_video)
