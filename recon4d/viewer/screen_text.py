"""Text over a 3D view that can draw lines only: every row of the letters' pixels is a line just before the eye.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Bool, Float64

from recon4d.results.preview import write_text

TEXT_PX = 20
"""Height of the letters."""
MARGIN_PX = 16
"""From the left and the upper border of the view."""


def text_rows(text: str) -> Float64[np.ndarray, "rows 2 2"]:
    """Ends (x, y) in pixels of the horizontal lines that write a text into the upper left corner of a view."""
    picture = np.zeros((2 * TEXT_PX, TEXT_PX * (len(text) + 1), 3), np.uint8)
    write_text(picture, text, (0, 3 * TEXT_PX // 2), TEXT_PX, (255, 255, 255))
    on = picture[..., 0] > 127
    starts, ends = _runs(on)
    return np.asarray(np.stack((starts, ends), axis=1) + float(MARGIN_PX))


def _runs(
    on: Bool[np.ndarray, "height width"],
) -> tuple[Float64[np.ndarray, "runs 2"], Float64[np.ndarray, "runs 2"]]:
    """(x, y) of the first pixel of every horizontal run, and of the end of its last one."""
    padded = np.pad(on, ((0, 0), (1, 1))).astype(np.int8)
    step = np.diff(padded, axis=1)
    row, first = np.nonzero(step == 1)
    _, end = np.nonzero(step == -1)
    return np.stack((first, row + 0.5), axis=1), np.stack((end, row + 0.5), axis=1)


def before_eye(
    rows: Float64[np.ndarray, "rows 2 2"],
    pixels: Float64[np.ndarray, "3 3"],
    cam_from_world: Float64[np.ndarray, "4 4"],
    distance: float,
) -> Float64[np.ndarray, "rows 2 3"]:
    """Ends in the world of lines that are seen at given pixels.

    Args:
        rows: Ends (x, y) in pixels.
        pixels: The view's camera matrix.
        cam_from_world: The view's pose, OpenCV axes.
        distance: z-depth at which they are drawn.
    """
    rays = (rows - (pixels[0, 2], pixels[1, 2])) / (pixels[0, 0], pixels[1, 1])
    in_cam = distance * np.concatenate((rays, np.ones((*rows.shape[:2], 1))), axis=2)
    turn, shift = cam_from_world[:3, :3], cam_from_world[:3, 3]
    return np.asarray((in_cam - shift) @ turn)
