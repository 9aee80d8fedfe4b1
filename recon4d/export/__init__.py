"""Results in the formats of other programs. Uses core, io and results; `recon4d.choices` has the formats by name."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from recon4d.choices import module_of, table
from recon4d.core.errors import ConfigError, did_you_mean
from recon4d.core.files import straight, writing
from recon4d.core.progress import Progress, counted, no_progress
from recon4d.export.original import at_original_size
from recon4d.export.place import placed
from recon4d.export.unroll import unrolled
from recon4d.export.views import (
    Export,
    Exporter,
    at_working_size,
    has_no_parallax,
    unposed_frames,
)
from recon4d.io.ours import EXPORT_MARKER, EXPORTS, written_files
from recon4d.results.folder import read_result
from recon4d.results.result import Result

_log = logging.getLogger(__name__)


DEPTH_SIZES = ("working", "original")
IMAGES = ("undistorted", "distorted")


@dataclass(frozen=True)
class ExportOptions:
    """What of a result is written, where a format leaves a choice."""

    depth_size: str = "working"
    """`original`: images, masks and depth at the size of the input, which is read again."""
    draws_cameras: bool = True
    """Draw cameras and their path as lines."""
    unrolls: bool = False
    """Pictures, depth and masks as a shutter would have shown them that is open at once."""
    images: str = "undistorted"
    """`distorted`: as they came, with the camera's lens; they then have the size of the input, too."""

    @property
    def is_original(self) -> bool:
        """Whether the input is read again."""
        return self.depth_size == "original" or self.images == "distorted"

    def check(self, to: str) -> None:
        """Refuse what a format has no choice about.

        Raises:
            ConfigError: There is no such size, or the format has nothing of the kind.
        """
        if self.depth_size not in DEPTH_SIZES:
            raise ConfigError(
                f"the depth size cannot be '{self.depth_size}'; available: {', '.join(DEPTH_SIZES)}"
            )
        if self.images not in IMAGES:
            raise ConfigError(
                f"the images cannot be '{self.images}'; available: {', '.join(IMAGES)}"
            )
        exporter = exporter_of(to)
        asked = f"--images {IMAGES[1]}" if self.images == IMAGES[1] else "--depth-size original"
        if self.is_original and not exporter.has_images:
            able = ", ".join(name for name in table("export") if exporter_of(name).has_images)
            raise ConfigError(
                f"{asked} is for exports with images ({able}), and {to} has none; leave it out"
            )
        if self.unrolls and self.is_original:
            raise ConfigError(
                f"--unroll looks pictures up through the depth of the working size; leave {asked} out"
            )
        if not self.draws_cameras and not exporter.has_lines:
            raise ConfigError(
                f"--cameras no is for the lines that glb draws, and {to} draws none; leave it out"
            )


AS_EVER = ExportOptions()
"""What is written where nothing is chosen."""


def export_result(
    result: Path,
    to: str,
    out: Path | None = None,
    options: ExportOptions = AS_EVER,
    progress: Progress = no_progress,
) -> Path:
    """Write a result folder in another format; it appears at its place when it is complete.

    Args:
        result: The result folder.
        to: One of `recon4d.choices.EXPORT`.
        out: Where to; `RESULT/export/FORMAT` if not given. For glb also the name of a .glb file.
        options: What is written.
        progress: Told how many frames are written.

    Returns:
        What was written: a folder, or the .glb file.

    Raises:
        ConfigError: There is no such format or size, or the format has no images.
        InputError: The result, the input or the place cannot be used.
        MissingDependencyError: The format needs a package that is not installed.
    """
    exporter = exporter_of(to)
    options.check(to)
    target = result / EXPORTS / to if out is None else straight(out)
    own = exporter.file
    file = own if own and target.suffix.lower() == Path(own).suffix else None
    reconstruction = read_result(result)
    if options.unrolls:
        reconstruction = unrolled(reconstruction)
    with placed(target, inside=result if out is None else None, file=file) as folder:
        pictures = None if options.unrolls else result
        export = _choose(reconstruction, pictures, exporter, options)
        export = dataclasses.replace(export, draws_cameras=options.draws_cameras)
        _write(exporter, export, folder, progress)
        _describe(export, to, reconstruction, folder / EXPORT_MARKER)
    return target


def exporter_of(to: str) -> Exporter:
    """The format of a name.

    Raises:
        ConfigError: There is no such format.
    """
    formats = table("export")
    if to not in formats:
        raise ConfigError(
            f"export to '{to}' is not known{did_you_mean(to, formats)}; available: {', '.join(formats)}"
        )
    made: Exporter = module_of("export", to).make()
    return made


def _choose(
    reconstruction: Result, result: Path | None, exporter: Exporter, options: ExportOptions
) -> Export:
    """The frames of a result that a format gets; what was not measured of them is named on the screen."""
    every = range(len(reconstruction.sources))
    unposed = unposed_frames(reconstruction) if exporter.has_space else ()
    if unposed:
        named = ", ".join(f"{frame} ({reconstruction.sources[frame]})" for frame in unposed)
        left = "are left out" if exporter.is_sparse else "are placed by guess, with their points"
        _log.warning(
            "%d of %d frames have no measured pose and %s: %s",
            len(unposed),
            len(every),
            left,
            named,
        )
    if exporter.has_space and has_no_parallax(reconstruction):
        _log.warning(
            "the camera of this result does not translate: its depth was set (a constant) or given, not measured, and "
            "so are the points of the export; rotations, intrinsics and masks are measured"
        )
    frames = tuple(frame for frame in every if not (exporter.is_sparse and frame in unposed))
    if options.is_original:
        is_distorted = options.images == "distorted"
        return at_original_size(reconstruction, frames, is_distorted=is_distorted)
    return at_working_size(reconstruction, frames, result)


def _write(exporter: Exporter, export: Export, folder: Path, progress: Progress) -> None:
    """Write an export and tell how far it is: at the input's size a frame takes seconds."""
    if not exporter.has_images:
        exporter.write(export, folder)
        return
    with progress("export", len(export.frames)) as counter:
        told = dataclasses.replace(export, views=lambda: counted(export.views(), counter))
        exporter.write(told, folder)


def _describe(export: Export, to: str, reconstruction: Result, path: Path) -> None:
    """Write what the export holds; its presence marks the folder as recon4d's."""
    sources = dict(enumerate(reconstruction.sources))
    content = {
        "format": to,
        "size": list(export.size),
        "scale": "metric" if reconstruction.is_metric else "relative",
        "frames": {frame: sources.pop(frame) for frame in export.frames},
        "left_out": sources,
        "entries": sorted(written_files(path.parent)),
    }
    with writing(path):
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
