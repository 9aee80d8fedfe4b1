"""RGB-D folders in the layout of the TUM RGB-D benchmark: `rgb.txt`, `depth.txt`, optional `intrinsics.txt`."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from recon4d.core.errors import InputError
from recon4d.core.text import parse_numbers, read_rows
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.options import ReadOptions
from recon4d.io.pictures.bit_depth import colour_reader
from recon4d.io.pictures.folder import check_times
from recon4d.io.rgbd.unit import TUM_FACTOR, DepthUnit, find_depth_unit, read_depth_values

DEPTH_UNITS_PER_M = TUM_FACTOR
"""TUM RGB-D: depth PNG of 16 bit, 5000 = 1 m, 0 = unknown."""
LARGEST_TIME_DIFFERENCE_S = 0.02
"""TUM RGB-D's own association: colour and depth further apart in time are not of one moment."""


def is_tum_folder(folder: Path) -> bool:
    """True for a folder with a list of colour images."""
    return (folder / "rgb.txt").is_file()


def open_tum_folder(folder: Path, options: ReadOptions) -> Source:
    """Look at an RGB-D folder; its depth is touched only where the options ask for it."""
    colours = read_list(folder / "rgb.txt")
    has_depth = (folder / "depth.txt").is_file()
    partners: list[Path | None] = [None] * len(colours)
    unit: DepthUnit | None = None
    if options.with_depth and has_depth:
        partners = _partners(folder, colours)
        unit = find_depth_unit([path for path in partners if path], options.depth_factor)
    camera_file = folder / "intrinsics.txt"
    read, said = colour_reader([path for _, path in colours])
    if unit:
        said = (*said, *unit.notices)

    def frames() -> Iterator[SourceFrame]:
        for index, ((time_s, path), depth_path) in enumerate(zip(colours, partners, strict=True)):
            depth: Callable[[], np.ndarray] | None = None
            if depth_path and unit:
                depth = partial(read_depth_m, depth_path, unit.factor)
            yield SourceFrame(index, time_s, path.name, partial(read, path), depth)

    return Source(
        folder,
        kind="rgbd",
        is_timed=True,
        expected_frames=len(colours),
        frames=frames,
        notices=lambda: said,
        has_depth=has_depth,
        depth_factor=unit.factor if unit else None,
        camera_file=camera_file if camera_file.is_file() else None,
    )


def read_list(path: Path) -> list[tuple[float, Path]]:
    """Read `timestamp filename` lines, sorted by time; every file must exist."""
    entries = []
    for number, line in read_rows(path):
        where = f"{path}, line {number}"
        words = line.split(maxsplit=1)
        if len(words) != 2:
            raise InputError(
                f"{where}: found '{line}', 'timestamp filename' was needed; correct the line"
            )
        file = path.parent / words[1]
        if not file.is_file():
            raise InputError(
                f"{where} names {words[1]}, which does not exist; restore it, or remove the line"
            )
        entries.append((parse_numbers(words[:1], where)[0], file))
    if not entries:
        raise InputError(f"{path} lists no images; lines of 'timestamp filename' were needed")
    entries.sort()
    check_times([time_s for time_s, _ in entries], [file.name for _, file in entries], path)
    return entries


def read_depth_m(path: Path, factor: float = DEPTH_UNITS_PER_M) -> np.ndarray:
    """Read a 16-bit depth PNG, whose value for one metre is `factor`, as float32 metres, 0 = unknown."""
    return read_depth_values(path).astype(np.float32) / np.float32(factor)


def _partners(folder: Path, colours: list[tuple[float, Path]]) -> list[Path | None]:
    partners = _associate([time_s for time_s, _ in colours], read_list(folder / "depth.txt"))
    if not any(partners):
        raise InputError(
            f"{folder}: no depth image is within {LARGEST_TIME_DIFFERENCE_S} s of a colour image; the times of "
            "rgb.txt and depth.txt must be of one clock"
        )
    return partners


def _associate(times_s: list[float], depths: list[tuple[float, Path]]) -> list[Path | None]:
    """Return for each colour image the depth image nearest in time, None where none is near enough."""
    depth_times_s = np.array([time_s for time_s, _ in depths])
    nearest = [int(np.abs(depth_times_s - time_s).argmin()) for time_s in times_s]
    return [
        depths[best][1] if abs(depths[best][0] - time_s) <= LARGEST_TIME_DIFFERENCE_S else None
        for time_s, best in zip(times_s, nearest, strict=True)
    ]
