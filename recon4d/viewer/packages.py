"""The viewers' packages, and the system libraries that they need: what is missing is named with what installs it."""

import importlib
import re
from types import ModuleType

from recon4d.errors import MissingDependencyError

DEBIAN_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
    "libidn2.so.0": "libidn2-0",
    "libudev.so.1": "libudev1",
    "libusb-1.0.so.0": "libusb-1.0-0",
}
"""What open3d is linked to and does not bring along, and the Debian and Ubuntu packages that have it."""
_LIBRARY = re.compile(r"lib[\w.+-]*\.so[\w.]*")


def import_package(name: str) -> ModuleType:
    """Import open3d or viser.

    Raises:
        MissingDependencyError: It, or a system library that it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise MissingDependencyError(_explain(name, error)) from error


def _explain(name: str, error: ImportError | OSError) -> str:
    library = _LIBRARY.search(str(error))
    if library is None:
        return (
            f'{name} cannot be imported ({error}); the viewer needs it: pip install "recon4d[view]"'
        )
    packages = " ".join(sorted(set(DEBIAN_PACKAGES.values())))
    command = f"apt-get install {DEBIAN_PACKAGES.get(library[0], packages)}"
    return (
        f"{name} needs the system library {library[0]}, which is not installed; on Debian and Ubuntu: {command} "
        f"(all that it needs: {packages}), or look at the result with --web or --png FILE"
    )
