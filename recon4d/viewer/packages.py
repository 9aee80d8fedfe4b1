"""The viewers' packages, and the system libraries that they need: what is missing is named with what installs it.

`python -m recon4d.viewer.packages` says in one line what this machine lacks; install.sh ends with it.
"""

import ctypes
import importlib
import re
import sys
from types import ModuleType

from recon4d.core.errors import MissingDependencyError

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
FEATURES = {
    "open3d": "the desktop viewer (recon4d view RESULT)",
    "viser": "the web viewer (recon4d view RESULT --web)",
}
"""What each package is for."""
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


def lacking() -> str:
    """One line: which feature does not work on this machine, and the command that mends it."""
    parts = []
    for name, feature in FEATURES.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            what, command = mend(name, error)
            parts.append(f"{feature} lacks {what}: {command}")
    return "; ".join(parts) or "nothing is missing on this machine"


def _explain(name: str, error: ImportError | OSError) -> str:
    what, command = mend(name, error)
    if what == name:
        return f"{name} cannot be imported ({error}); the viewer needs it: {command}"
    return (
        f"{name} needs {what}; install them ({command}), "
        "or look at the result with --web or --png FILE"
    )


def mend(name: str, error: ImportError | OSError) -> tuple[str, str]:
    """What is missing, and the command that installs it: system libraries, or the package itself."""
    library = _LIBRARY.search(str(error))
    if library is None:
        return name, 'pip install "recon4d[view]"'
    libraries = sorted({library[0], *_missing_libraries()})
    known = [DEBIAN_PACKAGES[one] for one in libraries if one in DEBIAN_PACKAGES]
    packages = " ".join(sorted(known or DEBIAN_PACKAGES.values()))
    return (
        f"system libraries that are not installed ({', '.join(libraries)})",
        f"on Debian and Ubuntu: apt-get install {packages}",
    )


def _missing_libraries() -> list[str]:
    """Those of `DEBIAN_PACKAGES` that this machine cannot load."""
    return [name for name in DEBIAN_PACKAGES if not _loads(name)]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write(lacking() + "\n")
