"""Camera poses, depth, motion masks and a 4D point cloud from a video of a moving world.

`reconstruct(video)` does the work, `load(folder)` reads a result back; see examples/python_api.py. Importing this
package imports nothing heavy: what it offers is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recon4d.api import load, reconstruct
    from recon4d.core.errors import (
        ConfigError,
        DegenerateError,
        DivergedError,
        InputError,
        MissingDependencyError,
        Recon4DError,
    )
    from recon4d.results.reconstruction import Reconstruction

    __version__: str

__all__ = [
    "ConfigError",
    "DegenerateError",
    "DivergedError",
    "InputError",
    "MissingDependencyError",
    "Recon4DError",
    "Reconstruction",
    "__version__",
    "load",
    "reconstruct",
]

_HOMES = {
    "load": "recon4d.api",
    "reconstruct": "recon4d.api",
    "Reconstruction": "recon4d.results.reconstruction",
}
"""Where the public names live that are not errors."""


if not TYPE_CHECKING:  # a type checker sees the imports above, and that other names do not exist

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("recon4d")
        if name not in __all__:
            raise AttributeError(f"module 'recon4d' has no attribute '{name}'")
        if name in _HOMES:
            import_module("recon4d.cli.limits").check_process()
        return getattr(import_module(_HOMES.get(name, "recon4d.core.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
