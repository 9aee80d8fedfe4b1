"""`recon4d demo`: render a short video of a small moving world, reconstruct it, compare with the truth.

Numbers here that name no source were set by hand.
"""

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import InputError
from recon4d.core.files import writing
from recon4d.core.progress import Progress, counted, no_progress
from recon4d.core.text import printable
from recon4d.demo.render import Camera, Hits, World, cast, picture, pixel_grid
from recon4d.demo.world import make_camera, make_world
from recon4d.io.files import check_output, refuse_strangers
from recon4d.io.pictures.files import write_image
from recon4d.io.poses.trajectory import Trajectory, write_trajectory
from recon4d.io.rgbd.tum import DEPTH_UNITS_PER_M
from recon4d.io.video import write_video

FRAMES = 30
"""Of the video: two seconds."""
FPS = 15
"""Frame i is at i / FPS seconds, in the video and in the truth."""
SIZE = (448, 336)
"""(width, height) in pixels."""
RAYS_PER_PIXEL = 2
"""In each direction: four rays per pixel smooth the edges."""
SENSOR_NOISE = 1.2
"""Standard deviation of the camera's noise, grey levels of 255: a phone in daylight."""
ENCODER = {"crf": "16", "preset": "veryfast"}
"""x264, nearly without visible loss: what phones record."""
VIDEO_NAME = "demo.mp4"
MARK = "about.txt"
"""File by which a folder is known to be the demo's own."""
ABOUT = (
    "The input of `recon4d demo`, rendered by it: demo.mp4, and the exact truth in the layout of the TUM RGB-D\n"
    "benchmark (rgb.txt, depth.txt, groundtruth.txt, intrinsics.txt; depth PNG 5000 = 1 m; mask 255 = moving).\n"
    "The demo replaces this folder whenever it runs.\n"
)


def render_demo(folder: Path, seed: int = 0, progress: Progress = no_progress) -> Path:
    """Render the demo's video and its exact truth.

    Args:
        folder: A new folder for both: the video, and a sequence in TUM layout.
        seed: Decides the textures and the camera's noise.
        progress: Told how many frames are done.

    Returns:
        The video.
    """
    for name in ("rgb", "depth", "mask"):
        (folder / name).mkdir(parents=True)
    world, rng = make_world(seed), np.random.default_rng(seed)
    cameras = [make_camera(i, FRAMES, FPS, SIZE) for i in range(FRAMES)]

    def frames() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        with progress("render", total=FRAMES) as counter:
            for camera in counted(cameras, counter):
                yield _render_frame(folder, world, camera, rng)

    video = write_video(folder / VIDEO_NAME, frames(), Fraction(FPS), ENCODER)
    _write_lists(folder, cameras)
    return video


def run_demo(out: Path, progress: Progress) -> str:
    """Render the demo, reconstruct its video as any user's, and compare with the truth.

    Args:
        out: The result folder; what is rendered goes beside it, into `NAME_input`. Both are replaced if an earlier
            demo made them, anything else never.
        progress: Told how far each stage is.

    Returns:
        What the user should read.
    """
    check_output(out, overwrite=True)
    truth = out.with_name(f"{out.name}_input")
    with writing(truth):
        _replace(truth, lambda folder: render_demo(folder, progress=progress))
    result, errors = _reconstruct(truth, out, progress)
    shown = printable(shlex.quote(str(result)))
    return "\n".join(
        (
            f"video:      {truth / VIDEO_NAME} ({FRAMES} frames, {SIZE[0]}x{SIZE[1]}; its intrinsics were not given)",
            f"result:     {printable(str(result))}",
            "errors against the exact truth (lengths in metres, after the best scale):",
            errors,
            f"preview:    {printable(str(result / 'preview.png'))}",
            f"next:       recon4d view {shown}",
            f"            recon4d view {shown} --web",
            f"            recon4d export {shown} --to ply",
            "            recon4d run YOUR_VIDEO.mp4",
        )
    )


def _reconstruct(truth: Path, out: Path, progress: Progress) -> tuple[Path, str]:
    """Run the main job on the video as on any other; the result, and its errors as text."""
    from recon4d.evaluate import EvalOptions, evaluate
    from recon4d.run import pipeline
    from recon4d.settings.config import RunConfig

    config = RunConfig(input=truth / VIDEO_NAME, out=out)
    result = pipeline.run(config, overwrite=True, progress=progress)
    return result, evaluate(result, truth, EvalOptions())


def _replace(folder: Path, fill: Callable[[Path], object]) -> None:
    """Make a marked folder; it appears under its name only when it is complete, and replaces only its like."""
    if (folder.exists() or folder.is_symlink()) and not (folder / MARK).is_file():
        raise InputError(
            f"{folder} exists and was not made by recon4d demo; it is never overwritten: choose another --out"
        )
    if folder.exists():
        wrote = {
            "rgb",
            "depth",
            "mask",
            "rgb.txt",
            "depth.txt",
            "groundtruth.txt",
            "intrinsics.txt",
        }
        wrote |= {VIDEO_NAME, MARK}
        refuse_strangers((path for path in folder.iterdir() if path.name not in wrote), folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".recon4d-demo-", dir=folder.parent) as aside:
        filled = Path(aside) / "input"
        filled.mkdir()
        fill(filled)
        (filled / MARK).write_text(ABOUT, encoding="utf-8")
        if folder.exists():
            os.rename(folder, Path(aside) / "old")
        os.rename(filled, folder)


def _render_frame(
    folder: Path, world: World, camera: Camera, rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Render one frame and write its picture, depth and mask."""
    hits = cast(world, camera, pixel_grid(SIZE, RAYS_PER_PIXEL, np.float32), with_colour=True)
    clean = picture(hits, RAYS_PER_PIXEL)
    noise = SENSOR_NOISE * rng.standard_normal(clean.shape, np.float32)
    image = np.asarray(np.clip(clean + noise, 0, 255).round(), np.uint8)
    truth: Hits = cast(world, camera, pixel_grid(SIZE, dtype=np.float32))
    name = f"{camera.time_s:.6f}.png"
    stored = np.round(truth.depth * DEPTH_UNITS_PER_M).astype(np.uint16)
    files = {
        "rgb": cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        "depth": stored,
        "mask": np.where(world.is_moving[truth.solid], 255, 0).astype(np.uint8),
    }
    for kind, pixels in files.items():
        write_image(folder / kind / name, pixels)
    return image


def _write_lists(folder: Path, cameras: list[Camera]) -> None:
    """Write the text files of the TUM layout."""
    for kind in ("rgb", "depth"):
        lines = [f"{c.time_s:.6f} {kind}/{c.time_s:.6f}.png\n" for c in cameras]
        (folder / f"{kind}.txt").write_text("# timestamp filename\n" + "".join(lines))
    times_s = np.array([camera.time_s for camera in cameras])
    poses = np.stack([camera.world_from_cam for camera in cameras])
    write_trajectory(Trajectory(times_s, poses), folder / "groundtruth.txt")
    fx, fy, cx, cy = cameras[0].intrinsics
    in_files = f"{fx:.6f} {fy:.6f} {cx - 0.5:.6f} {cy - 0.5:.6f}\n"  # the first centre is (0, 0)
    (folder / "intrinsics.txt").write_text(in_files)
