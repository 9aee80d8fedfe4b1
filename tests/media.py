"""Small videos and folders for tests."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

TIME_BASE = Fraction(1, 1000)
"""Seconds per tick of the test videos."""


def textured_frames(count: int, width: int = 128, height: int = 96, seed: int = 0) -> np.ndarray:
    """Return uint8 RGB frames of a smooth random texture that moves 2 px to the left per frame."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 255, (height, width + 2 * count, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2.0)
    texture = (texture - texture.min()) / (texture.max() - texture.min()) * 255
    return np.stack([texture[:, 2 * i : 2 * i + width] for i in range(count)]).astype(np.uint8)


def quadrant_frames(count: int, width: int = 128, height: int = 96) -> np.ndarray:
    """Return frames whose corners are told apart: top left red, top right green, bottom left blue, rest black."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: height // 2, : width // 2] = (255, 0, 0)
    frame[: height // 2, width // 2 :] = (0, 255, 0)
    frame[height // 2 :, : width // 2] = (0, 0, 255)
    return np.stack([frame] * count)


def write_video(
    path: Path,
    frames: np.ndarray,
    times_s: Sequence[float] | None = None,
    *,
    codec: str = "libx264",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write frames as a video; times are rounded to milliseconds, by default 25 frames per second."""
    times = [i / 25 for i in range(len(frames))] if times_s is None else list(times_s)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 10
        stream.bit_rate = 8_000_000
        stream.codec_context.time_base = TIME_BASE
        for time_s, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.time_base = TIME_BASE
            frame.pts = round(time_s / TIME_BASE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def ask_for_clockwise_quarter_turn(path: Path) -> None:
    """Set the display matrix of an MP4 file, as a phone held upright does: players turn it 90 degrees clockwise.

    ISO 14496-12: the track header's matrix (a b u c d v x y w) maps (p, q) to (a p + c q + x, b p + d q + y).
    """
    data = bytearray(path.read_bytes())
    one = 1 << 16
    matrix_offset = (
        data.index(b"tkhd") + 44
    )  # tag, version and flags, times, id, duration, layer, volume
    matrix = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, matrix_offset, *matrix)
    path.write_bytes(bytes(data))


def cut_off(path: Path, share: float) -> Path:
    """Keep the first `share` of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    return path


def write_images(folder: Path, frames: np.ndarray, names: Sequence[str] | None = None) -> Path:
    """Write RGB frames of any bit depth as image files, by default `0000.png`, `0001.png`, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, pixels in enumerate(frames):
        name = names[index] if names else f"{index:04d}.png"
        order = [2, 1, 0, 3][: pixels.shape[-1]]
        stored = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., order])
        assert cv2.imwrite(str(folder / name), stored), name
    return folder


def write_tum_folder(
    folder: Path, frames: np.ndarray, depth_m: np.ndarray, times_s: Sequence[float]
) -> Path:
    """Write an RGB-D folder in TUM layout (without intrinsics.txt)."""
    names = [f"{time_s:.6f}.png" for time_s in times_s]
    write_images(folder / "rgb", frames, names)
    write_images(folder / "depth", np.round(depth_m * 5000).astype(np.uint16), names)
    for kind in ("rgb", "depth"):
        lines = [f"{name[:-4]} {kind}/{name}\n" for name in names]
        (folder / f"{kind}.txt").write_text("# timestamp filename\n" + "".join(lines))
    return folder
