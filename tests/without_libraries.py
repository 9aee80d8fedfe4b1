"""Makes open3d unimportable in an environment, as on a machine that lacks its system libraries.

    PYTHON tests/without_libraries.py

.ci/run calls it with the interpreter of an environment that it throws away. A line in site-packages reaches every
process of that environment, which a variable would not: the tests start many with variables of their own.
"""

import sysconfig
from pathlib import Path

_ERROR = "libusb-1.0.so.0: cannot open shared object file: No such file or directory"
_FINDER = f'''
import sys


class Finder:
    def find_spec(name, path=None, target=None):
        if name == "open3d":
            raise ImportError("{_ERROR}")


sys.meta_path.insert(0, Finder)
'''


def block(site_packages: Path) -> None:
    """Let every start of this environment's Python hide open3d."""
    (site_packages / "without_libraries.py").write_text(_FINDER)
    (site_packages / "without_libraries.pth").write_text("import without_libraries\n")


if __name__ == "__main__":
    block(Path(sysconfig.get_path("purelib")))
