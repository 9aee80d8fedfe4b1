"""The web viewer: the same scene in any browser, by viser."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recon4d.results.colours import PLAIN, Style
from recon4d.results.folder import read_result
from recon4d.viewer.address import FIRST_PORT, THIS_MACHINE, Address
from recon4d.viewer.moment import checked_frame
from recon4d.viewer.packages import import_package
from recon4d.viewer.page import FRAMES_PER_S, Page


def view_web(
    result: Path,
    address: Address = THIS_MACHINE,
    tell: Callable[[str], None] = print,
    style: Style = PLAIN,
    frame: int | None = None,
) -> None:
    """Serve a result folder until interrupted."""
    page = serve(result, address, style, frame)
    if page.missing is not None:
        tell(page.missing.message)
    tell(address.invitation(page.port))
    while True:
        time.sleep(1 / FRAMES_PER_S)
        page.play()


def serve(
    result: Path, address: Address = THIS_MACHINE, style: Style = PLAIN, frame: int | None = None
) -> Page:
    """Start the server and fill the scene; returns at once."""
    reconstruction = read_result(result)  # what was asked for is judged before what is installed
    first = checked_frame(frame, len(reconstruction.images), 0)
    viser = import_package("viser")
    address.check_free()
    port = FIRST_PORT if address.port is None else address.port
    # Browsers open connections that they do not use, each of which would be a traceback on the screen.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    server: Any = viser.ViserServer(host=address.host, port=port, verbose=False)
    return Page(server, reconstruction, style, first)
