"""Looking at results: a desktop window, a web page, a picture. Each is imported only when it is used."""

from pathlib import Path


def view_desktop(result: Path) -> None:
    """Open a window with the result folder's point cloud; returns when it is closed."""
    from recon4d.viewer.desktop import view_desktop as view

    view(result)


def view_web(result: Path, port: int = 8080) -> None:
    """Serve the result folder's point cloud to a browser until interrupted."""
    from recon4d.viewer.web import view_web as view

    view(result, port)


def render_png(result: Path, file: Path) -> Path:
    """Write a picture of the result folder's point cloud; needs no display."""
    from recon4d.viewer.headless import render_png as render

    return render(result, file)
