"""Looking at results: a desktop window, a web page, a picture. Each is imported only when it is used."""

from collections.abc import Callable
from pathlib import Path

Tell = Callable[[str], None]
"""Shows the user a line: the keys, the address."""


def view_desktop(result: Path, tell: Tell = print) -> None:
    """Open a window with the result folder's point cloud; returns when it is closed."""
    from recon4d.viewer.desktop import view_desktop as view

    view(result, tell)


def view_web(result: Path, port: int = 8080, tell: Tell = print) -> None:
    """Serve the result folder's point cloud to a browser until interrupted."""
    from recon4d.viewer.web import view_web as view

    view(result, port, tell)


def render_png(result: Path, file: Path) -> Path:
    """Write a picture of the result folder's point cloud; needs no display."""
    from recon4d.viewer.headless import render_png as render

    return render(result, file)
