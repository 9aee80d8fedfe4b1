"""The user's own motion masks: one image per frame."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from recon4d.errors import InputError
from recon4d.io.camera import camera_from_array
from recon4d.io.images import list_images, read_image
from recon4d.io.lens import Undistortion, undistortion
from recon4d.scene import Video

LOSSY_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".webp", ".jp2"))
LOSSY_THRESHOLD = 127
"""In lossy files the background is not exactly 0 around borders; there only the brighter half of the range counts."""


def read_mask_folder(folder: Path, video: Video) -> Bool[np.ndarray, "frames height width"]:
    """Read a folder with one mask image per frame; True = moving.

    A mask belongs to the frame whose source has the same stem (`rgb/0012.jpg` and `0012.png`), or the same number
    (`12` and `000012.png`); if no mask matches so, to the frame with that index in the source. Any non-zero pixel is
    moving. Masks of the input's size are undistorted with the frames; masks of the working size are taken as they are.
    """
    if not folder.is_dir():
        raise InputError(
            f"--masks {folder} is not a folder; a folder with one mask per frame was needed"
        )
    paths = _match(folder, video)
    lens = None
    if video.lens is not None:
        lens = undistortion(camera_from_array(video.lens), video.source_size)
    is_moving = np.empty(video.images.shape[:3], bool)
    for index, path in enumerate(paths):
        is_moving[index] = _read_mask(path, index, video, lens)
    if is_moving.all():
        raise InputError(
            f"--masks {folder}: all pixels of all {len(paths)} masks are moving; recon4d needs static pixels to find "
            "the camera: non-zero must mean moving, are the masks inverted?"
        )
    return is_moving


def _match(folder: Path, video: Video) -> list[Path]:
    """Return the mask of each frame."""
    masks = list_images(folder)
    if not masks:
        raise InputError(f"--masks {folder} holds no images; one mask per frame was needed")
    stems = [Path(source).stem for source in video.sources]
    indices = video.source_indices or tuple(range(video.num_frames))
    by_stem: dict[str, Path] = {}
    for mask in masks:
        if mask.stem in by_stem:
            raise InputError(
                f"--masks {folder} has {by_stem[mask.stem].name} and {mask.name} for one frame; remove one of them"
            )
        by_stem[mask.stem] = mask
    by_number = {int(mask.stem): mask for mask in masks if mask.stem.isdecimal()}
    if any(stem in by_stem for stem in stems):
        found = [by_stem.get(stem) for stem in stems]
    elif all(stem.isdecimal() for stem in stems):
        found = [by_number.get(int(stem)) for stem in stems]
    else:
        found = [by_number.get(index) for index in indices]
    for frame, (path, stem) in enumerate(zip(found, stems, strict=True)):
        if path is None:
            raise InputError(
                f"--masks {folder} has no mask for frame {frame} (source {video.sources[frame]}); one image per frame "
                f"was needed: add {stem}.png"
            )
    return [path for path in found if path is not None]


def _read_mask(
    path: Path, frame: int, video: Video, lens: Undistortion | None
) -> Bool[np.ndarray, "height width"]:
    stored = read_image(path, cv2.IMREAD_UNCHANGED)
    if stored.ndim == 3:
        stored = stored[..., :3].max(axis=-1)  # a fourth channel is opacity, not the mask
    is_moving = stored > (LOSSY_THRESHOLD if path.suffix.lower() in LOSSY_SUFFIXES else 0)
    size = (is_moving.shape[1], is_moving.shape[0])
    if size not in (video.source_size, video.size):
        raise InputError(
            f"{path} of frame {frame} has {size[0]}x{size[1]} px; the input's {video.source_size[0]}x"
            f"{video.source_size[1]} px or the working size {video.size[0]}x{video.size[1]} px was needed: resize it"
        )
    if size == video.size and size != video.source_size:
        return is_moving
    levels = is_moving.astype(np.uint8) * np.uint8(255)
    seen = lens.nearest(levels) if lens else levels
    return np.asarray(cv2.resize(seen, video.size, interpolation=cv2.INTER_AREA)) > 127
