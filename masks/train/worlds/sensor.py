"""What a camera does to a picture: exposure, vignetting, defocus, noise, sharpening, compression."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8


def record(
    pictures: Sequence[Float32[np.ndarray, "height width 3"]], rng: np.random.Generator
) -> UInt8[np.ndarray, "frames height width 3"]:
    """The frames of a clip as a file would hold them; the camera's character is the same in all.

    Args:
        pictures: 0 to 255, linear in what is displayed.
        rng: Decides everything.
    """
    height, width = pictures[0].shape[:2]
    frames = len(pictures)
    drift = np.cumsum(rng.normal(0, rng.choice([0.0, 0.006]), (frames, 3)), axis=0)
    gain = np.exp(drift - drift.mean(0)) * rng.uniform(0.8, 1.15)
    shade = _vignette(height, width, float(rng.uniform(0, 0.35) * (rng.random() < 0.4)))
    blur = float(rng.uniform(0.3, 1.4)) if rng.random() < 0.5 else 0.0
    sharpen = float(rng.uniform(0.2, 0.9)) if rng.random() < 0.3 else 0.0
    noise = float(np.exp(rng.uniform(np.log(0.5), np.log(8))))
    quality = int(rng.integers(35, 96))
    found = []
    for picture, factor in zip(pictures, gain, strict=True):
        seen = picture * (shade[..., None] * factor.astype(np.float32))
        if blur:
            seen = cv2.GaussianBlur(seen, (0, 0), blur)
        if sharpen:
            seen = seen + sharpen * (seen - cv2.GaussianBlur(seen, (0, 0), 1.5))
        seen = seen + rng.normal(0, noise, seen.shape).astype(np.float32)
        found.append(_compressed(np.clip(seen, 0, 255).astype(np.uint8), quality))
    return np.stack(found)


def _vignette(height: int, width: int, strength: float) -> Float32[np.ndarray, "height width"]:
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(1 - strength * (u * u + v * v) / 2, np.float32)


def _compressed(
    picture: UInt8[np.ndarray, "height width 3"], quality: int
) -> UInt8[np.ndarray, "height width 3"]:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
