"""Looking at results: a desktop window, a web page, a picture. Each is imported only when it is used."""

from collections.abc import Callable
from pathlib import Path

from recon4d.results.colours import COLORS as COLORS
from recon4d.results.colours import PLAIN as PLAIN
from recon4d.results.colours import Style as Style
from recon4d.viewer.address import THIS_MACHINE
from recon4d.viewer.address import Address as Address

Tell = Callable[[str], None]
"""Shows the user a line: the keys, the address, what is not known."""


def view_desktop(
    result: Path, tell: Tell = print, style: Style = PLAIN, frame: int | None = None
) -> None:
    """Open a window with the result folder's point cloud, at a frame (the first); returns when it is closed."""
    from recon4d.viewer.desktop import view_desktop as view

    view(result, tell, style, frame)


def view_web(
    result: Path,
    address: Address = THIS_MACHINE,
    tell: Tell = print,
    style: Style = PLAIN,
    frame: int | None = None,
) -> None:
    """Serve the result folder's point cloud to a browser until interrupted, at a frame (the first)."""
    from recon4d.viewer.web import view_web as view

    view(result, address, tell, style, frame)


def render_png(
    result: Path, file: Path, tell: Tell = print, style: Style = PLAIN, frame: int | None = None
) -> Path:
    """Write a picture of the result folder's point cloud at a frame (the middle one); needs no display."""
    from recon4d.viewer.headless import render_png as render

    return render(result, file, tell, style, frame)
