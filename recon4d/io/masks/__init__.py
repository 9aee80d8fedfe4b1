"""The user's own motion masks: one image per frame."""

import re
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.core.errors import InputError
from recon4d.core.scene import Notice, Video
from recon4d.io.camera import camera_from_array
from recon4d.io.lens import Undistortion, undistortion
from recon4d.io.masks.values import MaskValues, survey_masks
from recon4d.io.matching import PerFrame, is_of_video, marked
from recon4d.io.pictures.files import list_images
from recon4d.io.resize import resize_nearest, same_shape

MARK = re.compile(r"^masks?[_\-. ]|[_\-. ]masks?$", re.IGNORECASE)
"""What tools add to the name of an image to name its mask: `mask_NAME`, `NAME_mask`."""


def check_mask_folder(folder: Path, video: Video, *, means_static: bool) -> tuple[Notice, ...]:
    """Find a mask for every frame and how the masks are to be read; say what the user should know of it.

    Raises:
        InputError: A frame has no mask, or nearly everything would be moving.
    """
    masks = _masks_in(folder)
    masks.match(video)
    _, notices = survey_masks(folder, masks.files, means_static=means_static)
    if is_of_video(video) and masks.counts_from_one:
        first = masks.files[0].name
        message = f"The masks are numbered from 1: {first} is taken for the video's first frame."
        notices = (*notices, Notice("masks_from_one", message))
    return notices


def read_mask_folder(
    folder: Path, video: Video, *, means_static: bool = False
) -> Bool[np.ndarray, "frames height width"]:
    """Read a folder with one mask image per frame; True = moving.

    How masks are named: `recon4d.io.matching`; what their values mean: `recon4d.io.masks.values`. Masks of the
    input's size, or of its shape at another resolution, are undistorted with the frames; masks of the working size are
    taken as they are.
    """
    masks = _masks_in(folder)
    paths = masks.match(video)
    values, _ = survey_masks(folder, masks.files, means_static=means_static)
    lens = None
    if video.lens is not None:
        lens = undistortion(camera_from_array(video.lens), video.source_size)
    is_moving = np.empty(video.images.shape[:3], bool)
    for index, path in enumerate(paths):
        is_moving[index] = _read_mask(path, index, video, values, lens)
    return is_moving


def _masks_in(folder: Path) -> PerFrame:
    """The masks in a folder; where some names say `mask`, images beside them are not masks."""
    if not folder.is_dir():
        raise InputError(
            f"--masks {folder} is not a folder; a folder with one mask per frame was needed"
        )
    images = list_images(folder)
    if not images:
        raise InputError(f"--masks {folder} holds no images; one mask per frame was needed")
    return PerFrame(folder, marked(images, MARK), "--masks", "mask", MARK)


def _read_mask(
    path: Path, frame: int, video: Video, values: MaskValues, lens: Undistortion | None
) -> Bool[np.ndarray, "height width"]:
    is_moving = values.read(path)
    size = (is_moving.shape[1], is_moving.shape[0])
    if size == video.size and size != video.source_size:
        return is_moving
    if not same_shape(size, video.source_size):
        raise InputError(
            f"{path} of frame {frame} has {size[0]}x{size[1]} px; the shape of the input, {video.source_size[0]}x"
            f"{video.source_size[1]} px, or the working size {video.size[0]}x{video.size[1]} px was needed: resize it"
        )
    levels = resize_nearest(is_moving.astype(np.uint8) * np.uint8(255), video.source_size)
    seen = lens.nearest(levels) if lens else levels
    return np.asarray(cv2.resize(seen, video.size, interpolation=cv2.INTER_AREA)) > 127
