"""Point clouds as PLY files."""

from pathlib import Path

from recon4d.export.views import Export, Exporter
from recon4d.results.cloud import moving_cloud, static_cloud
from recon4d.results.ply import write_ply
from recon4d.results.trails import track_cloud


def export_ply(export: Export, folder: Path) -> None:
    """`static.ply`, fused over all frames, and what moves in each frame as `moving/NNNNNN.ply`.

    Points that were followed are in `tracks/NNNNNN.ply`, those that a frame sees, coloured by their objects.
    """
    write_ply(static_cloud(export.result), folder / "static.ply")
    (folder / "moving").mkdir()
    for row, frame in enumerate(export.frames):
        write_ply(moving_cloud(export.result, row), folder / f"moving/{frame:06d}.ply")
    if export.result.tracks is not None:
        (folder / "tracks").mkdir()
        for row, frame in enumerate(export.frames):
            write_ply(track_cloud(export.result, row), folder / f"tracks/{frame:06d}.ply")


def make() -> Exporter:
    """PLY files, for `recon4d export`."""
    return Exporter(export_ply)
