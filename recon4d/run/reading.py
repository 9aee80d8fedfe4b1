"""What a run reads of its user: the frames, and masks of one's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress
from recon4d.core.scene import Video
from recon4d.io.camera import Camera
from recon4d.io.frames import Source
from recon4d.io.masks import check_mask_folder, read_mask_folder
from recon4d.io.read import open_source, read_opened
from recon4d.run.dissolves import dissolve_notices
from recon4d.run.options import given_depth, read_options
from recon4d.run.overlays import find_overlay, overlay_notices
from recon4d.run.overlays.paint import painted_over
from recon4d.run.repeats import without_repeats
from recon4d.settings.config import RunConfig


def read_frames(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    frames: Source | None = None,
    lens: Camera | None = None,
) -> Video:
    """The frames; the user's masks are looked at, too, so that a wrong folder is refused before work starts.

    Args:
        config: Which frames, and how.
        folder: An existing folder for the arrays.
        progress: Told how many frames of the input have been passed.
        frames: An input that is open already; None: the one that `config` names.
        lens: The camera that was found from frames as they came, whose distortion is undone; None: what is known.
    """
    options = read_options(config)
    opened = open_source(config.input, options) if frames is None else frames
    if opened.camera is not None and (config.masks_folder or config.depth):
        raise ConfigError(
            f"{config.input} has pictures of several cameras, which are shown as one, and masks and depth of one's own "
            "cannot follow; leave --depth out, and name a method for --masks"
        )
    video = read_opened(opened, options, folder, progress, lens)
    video = replace(video, notices=(*video.notices, *dissolve_notices(video.images)))
    video = without_repeats(video, folder)
    overlay = find_overlay(video.images)
    if overlay is not None:
        video = painted_over(video, overlay, folder)
    notices = (*video.notices, *overlay_notices(overlay))
    if config.masks_folder is not None:
        is_static = config.masks_mean == "static"
        notices += check_mask_folder(config.masks_folder, video, means_static=is_static)
    depth = given_depth(config)
    if depth is not None:
        notices += depth.check(video, _num_input(config, video))
    return replace(video, notices=notices)


def _num_input(config: RunConfig, video: Video) -> int | None:
    """Frames of the input; None where some of them are left out."""
    if config.start or config.stride > 1 or config.max_frames or config.fps:
        return None
    return video.num_frames if video.repeats is None else len(video.repeats.shown)


def given_masks(config: RunConfig, video: Video) -> Bool[np.ndarray, "frames height width"] | None:
    """The user's own masks; None where there are none."""
    if config.masks_folder is None:
        return None
    return read_mask_folder(config.masks_folder, video, means_static=config.masks_mean == "static")
