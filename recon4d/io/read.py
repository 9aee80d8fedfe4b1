"""Reading any input: frames are undistorted and resized one by one, and go straight to a file."""

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from recon4d.core.arrays import GrowingArray
from recon4d.core.errors import InputError
from recon4d.core.progress import Counter, Progress, no_progress
from recon4d.core.scene import Notice, Video
from recon4d.io.camera import (
    Camera,
    camera_notices,
    camera_to_array,
    check_camera,
    check_stated_focal,
    stated_focal,
)
from recon4d.io.camera_files import parse_intrinsics, read_camera_file
from recon4d.io.fields import interlaced_notice, is_interlaced, without_odd_lines
from recon4d.io.frames import Source, SourceFrame, select_frames
from recon4d.io.lens import Undistortion, undistortion
from recon4d.io.memory import refuse_memory
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.folder import open_image_folder
from recon4d.io.resize import fy_over_fx, resize_nearest, same_shape, working_size
from recon4d.io.rgbd.captures import is_capture_folder, open_capture_folder
from recon4d.io.rgbd.points import resized_depth
from recon4d.io.rgbd.tum import is_tum_folder, open_tum_folder
from recon4d.io.several import as_one_camera
from recon4d.io.video import open_video_source


def read_video(
    source: Path, options: ReadOptions, folder: Path, progress: Progress = no_progress
) -> Video:
    """Read a video file, a folder of images, or an RGB-D folder in TUM layout.

    Memory does not grow with the input: the images go to `folder/images.npy`, sensor depth to
    `folder/sensor_depth.npy`, and the returned arrays are memory maps of these files.

    Args:
        source: The input.
        options: Which frames, and how.
        folder: An existing folder for the arrays.
        progress: Told how many frames of the input have been passed.
    """
    return read_opened(open_source(source, options), options, folder, progress)


def read_opened(
    opened: Source,
    options: ReadOptions,
    folder: Path,
    progress: Progress = no_progress,
    found: Camera | None = None,
) -> Video:
    """Read an input that was opened: `read_video`.

    A camera that was found from the frames themselves is undistorted; its focal length remains to be estimated.
    """
    camera = camera_of(opened, options) if found is None else found
    with ExitStack() as files, progress("read", opened.expected_frames) as counter:
        images = files.enter_context(GrowingArray(folder / "images.npy"))
        depths = None
        if options.with_depth:
            depths = files.enter_context(GrowingArray(folder / "sensor_depth.npy"))
        reader = _Reading(opened, options, camera, images, depths, _is_interlaced(opened, options))
        reader.is_found = found is not None
        reader.take_all(_counted(opened.frames(), reader, counter))
        return reader.finish()


def open_source(source: Path, options: ReadOptions) -> Source:
    """Find out what kind of input `source` is and open it."""
    refuse_memory(source)
    if not source.exists():
        raise InputError(
            f"{source} does not exist; a video file, a folder of images or an RGB-D folder was needed: check the path"
        )
    if source.is_dir():
        if is_tum_folder(source):
            opened = open_tum_folder(source, options)
        elif is_capture_folder(source):
            opened = open_capture_folder(source, options)
        else:
            opened = open_image_folder(source, options.fps)
    elif not source.is_file():
        raise InputError(
            f"{source} is a device or a pipe, no file; a video file, a folder of images or an RGB-D folder was needed"
        )
    elif source.stat().st_size == 0:
        raise InputError(f"{source} is empty; a video file was needed: copy or record it again")
    else:
        opened = open_video_source(source)
    if options.with_depth and not opened.has_depth:
        raise InputError(
            f"{source} has no sensor depth, which --geometry rgbd needs; give an RGB-D folder in TUM layout (rgb.txt, "
            "depth.txt) or with folders rgb/ and depth/ whose images are named alike, or leave --geometry out"
        )
    if (
        options.intrinsics is None
        or opened.kind == "video"
        or not Path(options.intrinsics).is_file()
    ):
        return opened
    return as_one_camera(
        opened,
        Path(options.intrinsics),
        lambda: list(kept_frames(opened.frames(), opened, options)),
    )


def camera_of(opened: Source, options: ReadOptions) -> Camera | None:
    """Return the camera that the user gives, else the one that comes with the input."""
    if opened.camera is not None:
        return opened.camera
    if options.intrinsics is not None:

        def places() -> list[Path]:
            kept = kept_frames(opened.frames(), opened, options) if opened.kind != "video" else ()
            return [opened.path / frame.name for frame in kept]

        return parse_intrinsics(options.intrinsics, places)
    return read_camera_file(opened.camera_file) if opened.camera_file else None


def kept_frames(
    frames: Iterable[SourceFrame], opened: Source, options: ReadOptions
) -> Iterator[SourceFrame]:
    """Keep the frames of an opened input that the options ask for."""
    # a folder without times has the rate that --fps states: nothing is to be dropped
    if not opened.is_timed:
        options = dataclasses.replace(options, fps=None)
    return select_frames(frames, options)


def _is_interlaced(opened: Source, options: ReadOptions) -> bool:
    """Whether a video is; it is opened a second time, and its first frames are looked at."""
    if opened.kind != "video":
        return False
    again = open_video_source(opened.path)
    return is_interlaced(frame.pixels() for frame in kept_frames(again.frames(), again, options))


def _counted(
    frames: Iterable[SourceFrame], reading: "_Reading", counter: Counter
) -> Iterator[SourceFrame]:
    for frame in frames:
        reading.found += 1
        counter.advance()
        yield frame


@dataclass
class _Reading:
    """Collects the frames of one input; what depends on the size is settled by the first frame."""

    opened: Source
    options: ReadOptions
    camera: Camera | None
    images: GrowingArray
    depths: GrowingArray | None
    is_interlaced: bool
    is_found: bool = False
    """The camera was found from these frames: its focal length is not known for sure."""
    found: int = 0
    times_s: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    without_depth: list[int] = field(default_factory=list)
    source_size: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    lens: Undistortion | None = None

    def take_all(self, frames: Iterable[SourceFrame]) -> None:
        """Convert and store the frames that the options ask for."""
        for frame in kept_frames(frames, self.opened, self.options):
            self._take(frame)

    def finish(self) -> Video:
        """Complete the files and describe them."""
        if len(self.names) < 2:
            raise InputError(self._too_few())
        intrinsics = self._working_intrinsics()
        is_known = intrinsics is not None and not self.is_found
        return Video(
            images=self.images.finish(),
            timestamps_s=np.array(self.times_s),
            sources=tuple(self.names),
            source_size=self.source_size,
            intrinsics=intrinsics if is_known else None,
            found_intrinsics=None if is_known else intrinsics,
            fy_over_fx=fy_over_fx(self.source_size, self.size, self.opened.pixel_aspect),
            stated_focal_px=None if is_known else self._stated_focal_px(),
            sensor_depth=self.depths.finish() if self.depths else None,
            source_indices=tuple(self.indices),
            depth_factor=self.opened.depth_factor,
            lens=camera_to_array(self.camera) if self.camera and self.lens else None,
            notices=(
                *self.opened.notices(),
                *((interlaced_notice(self.opened.path.name),) if self.is_interlaced else ()),
                *self._camera_notices(),
                *self._depth_notices(),
            ),
        )

    def _take(self, frame: SourceFrame) -> None:
        pixels = np.ascontiguousarray(frame.pixels())
        size = (pixels.shape[1], pixels.shape[0])
        if not self.names:
            self._settle(size)
        elif size != self.source_size:
            raise InputError(
                f"{self.opened.path}: frame {frame.name} has {size[0]}x{size[1]} px, but frame {self.names[0]} has "
                f"{self.source_size[0]}x{self.source_size[1]} px; all frames need one size: resize or remove the others"
            )
        if self.is_interlaced:
            pixels = without_odd_lines(pixels)
        if self.lens:
            pixels = self.lens.image(pixels)
        self.images.append(cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA))
        if self.depths is not None:
            self.depths.append(self._depth(frame))
        self.times_s.append(frame.time_s)
        self.names.append(frame.name)
        self.indices.append(frame.index)

    def _settle(self, size: tuple[int, int]) -> None:
        self.source_size = size
        self.size = working_size(size, self.options.size, self.opened.pixel_aspect)
        if self.camera is None:
            check_stated_focal(self._stated_focal_px(), self.size)
            return
        check_camera(self.camera, size)
        if not self.camera.is_pinhole:
            self.lens = undistortion(self.camera, size)

    def _depth(self, frame: SourceFrame) -> np.ndarray:
        if frame.depth is None:
            self.without_depth.append(len(self.names))
            return np.zeros(self.size[::-1], np.float32)
        depth = frame.depth()
        height, width = depth.shape
        if not same_shape((width, height), self.source_size):
            raise InputError(
                f"{self.opened.path}: the depth of frame {frame.name} has {width}x{height} px, its colour image "
                f"{self.source_size[0]}x{self.source_size[1]} px; depth needs to show what the colour camera sees: "
                "register it"
            )
        if self.lens:
            depth = self.lens.nearest(resize_nearest(depth, self.source_size))
        return resized_depth(depth, self.size)

    def _working_intrinsics(self) -> np.ndarray | None:
        """Of the camera that is known, or was found."""
        camera = self.lens.camera if self.lens else self.camera
        if camera is None:
            return None
        scale_x = self.size[0] / self.source_size[0]
        scale_y = self.size[1] / self.source_size[1]
        return np.array(
            [camera.fx * scale_x, camera.fy * scale_y, camera.cx * scale_x, camera.cy * scale_y]
        )

    def _stated_focal_px(self) -> float | None:
        """What user or pictures say in millimetres; the images of a lens that was found are enlarged."""
        asked = self.options
        stated = stated_focal(self.size, asked.focal_mm, asked.sensor_mm, self.opened.focal_35mm)
        if stated is None or not (self.lens and self.camera):
            return stated
        return stated * self.lens.camera.fx / self.camera.fx

    def _camera_notices(self) -> tuple[Notice, ...]:
        if self.camera is None or self.is_found:
            return ()
        return camera_notices(self.camera, self.source_size)

    def _depth_notices(self) -> tuple[Notice, ...]:
        if self.opened.has_depth and not self.options.with_depth:
            message = (
                f"{self.opened.path.name} has depth images, which are not used; --geometry rgbd uses them, and the "
                "result is then in metres."
            )
            return (Notice("depth_not_used", message),)
        if not self.without_depth:
            return ()
        message = (
            f"{len(self.without_depth)} of {len(self.names)} colour images have no depth image of the same time "
            "(within 0.02 s) or name; their sensor depth counts as unknown"
        )
        return (Notice("frames_without_depth", message, tuple(self.without_depth)),)

    def _too_few(self) -> str:
        name, options = self.opened.path, self.options
        frames = "1 frame" if self.found == 1 else f"{self.found} frames"
        if self.found < 2:
            return f"{name} has {frames}; recon4d needs at least 2: give a longer video, or a folder of images"
        return (
            f"{name} has {frames}, but --start {options.start:g}, --stride {options.stride} and --fps "
            f"{options.fps or 'unset'} keep {len(self.names)}; recon4d needs at least 2: keep more frames"
        )
