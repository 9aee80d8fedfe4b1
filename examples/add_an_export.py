"""A new export format, in one file: the path of the camera as a table for spreadsheets.

A package makes it known by an entry point, then `recon4d export RESULT --to csv` knows it:

    [project.entry-points."recon4d.export"]
    csv = "add_an_export"

In recon4d itself it would be this file in recon4d/export/ and one line in `EXPORT` of recon4d/choices.py.
"""

from pathlib import Path

import numpy as np

from recon4d.core.files import writing
from recon4d.export.views import Export, Exporter


def make() -> Exporter:
    """The format: one file in a folder; frames whose pose was not measured are left out."""
    return Exporter(write, is_sparse=True)


def write(export: Export, folder: Path) -> None:
    """Time in seconds and centre of every camera."""
    path, result = folder / "cameras.csv", export.result
    rows = np.column_stack((result.timestamps_s, result.world_from_cam[:, :3, 3]))
    with writing(path):
        np.savetxt(path, rows, delimiter=",", header="time,x,y,z", comments="", fmt="%.9g")
