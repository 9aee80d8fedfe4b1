"""`Reconstruction`: a result as users of the Python interface get it."""

import tempfile
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from recon4d.core.files import resolved
from recon4d.core.parallel import own_torch
from recon4d.io.files import PYTHON, check_output, publish
from recon4d.results.folder import read_result, write_result
from recon4d.results.preview import write_preview
from recon4d.results.result import Result
from recon4d.results.summary import summary_html

if TYPE_CHECKING:
    from recon4d.results.pytorch3d import PyTorch3DScene


@dataclass(frozen=True, repr=False)
class Reconstruction(Result):
    """The result of a run: what the result folder holds, in memory."""

    @staticmethod
    def of(result: Result) -> "Reconstruction":
        """The same, with what users do with it."""
        return Reconstruction(**{each.name: getattr(result, each.name) for each in fields(result)})

    @staticmethod
    def load(folder: str | PathLike[str]) -> "Reconstruction":
        """Read a result folder.

        Raises:
            InputError: It is none, or is damaged.
        """
        return Reconstruction.of(read_result(Path(folder)))

    def _repr_html_(self) -> str:
        """What a notebook shows: the same line, the preview, and the warnings."""
        return summary_html(self)

    def save(self, folder: str | PathLike[str], overwrite: bool = False) -> None:
        """Write a result folder; it appears under its name only when it is complete.

        Args:
            folder: Where to; `recon4d.load` reads it back.
            overwrite: Replace an earlier result there. Anything else there is never replaced.
        """
        place = Path(folder)
        check_output(place, overwrite, PYTHON)
        parent = resolved(place).parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".recon4d.", dir=parent) as aside, own_torch():
            finished = Path(aside) / "result"
            write_result(self, finished)
            write_preview(self, finished / "preview.png")
            publish(finished, place, overwrite, PYTHON)

    def to_pytorch3d(self, device: str = "cpu") -> "PyTorch3DScene":
        """Cameras and coloured point clouds as PyTorch3D has them, the static world apart from what moves.

        Args:
            device: Where their tensors are, e.g. "cuda".

        Raises:
            MissingDependencyError: PyTorch3D is not installed; the message has the command.
        """
        from recon4d.results.pytorch3d import to_pytorch3d  # torch: not to read a result

        return to_pytorch3d(self, device)
