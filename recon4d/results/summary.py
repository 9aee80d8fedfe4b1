"""A result in one line, and as a notebook shows it."""

import base64
import html
from collections.abc import Mapping

import cv2
import numpy as np

from recon4d.core.scene import Notice, Reconstruction

PREVIEW_WIDTH_PX = 960
"""Of the preview in a notebook: what a page is wide."""
JPEG_QUALITY = 80
"""Of the preview in a notebook, which is stored in it: about 100 kB."""


def summary(result: Reconstruction) -> str:
    """E.g. `Reconstruction(33 frames of 256x144 px, 2.13 s, focal length 211.5 px, relative scale, 8.2 % moving)`."""
    height, width = result.depth.shape[1:]
    times, warnings = result.timestamps_s, len(warnings_of(result.run))
    parts = [
        f"{len(result)} frames of {width}x{height} px",
        f"{times[-1] - times[0]:.2f} s",
        f"focal length {float(np.median(result.intrinsics[:, :2])):.1f} px",
        "metres" if result.is_metric else "relative scale",
        f"{100 * float(result.is_dynamic.mean()):.1f} % moving",
        *([f"{warnings} warning{'s' * (warnings > 1)}"] if warnings else []),
    ]
    return f"Reconstruction({', '.join(parts)})"


def warnings_of(run: Mapping[str, object]) -> tuple[Notice, ...]:
    """The notices that `run.json` has under `warnings`."""
    stored = run.get("warnings")
    found = [row for row in stored if isinstance(row, Mapping)] if isinstance(stored, list) else []
    return tuple(
        Notice(str(row.get("code", "")), str(row.get("message", "")), tuple(row.get("frames", ())))
        for row in found
    )


def summary_html(result: Reconstruction) -> str:
    """The line, the preview as a picture within the page, and the warnings."""
    from recon4d.results.preview import draw_preview

    sheet = draw_preview(result, range(len(result)))
    height = round(sheet.shape[0] * PREVIEW_WIDTH_PX / sheet.shape[1])
    small = cv2.resize(sheet, (PREVIEW_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), quality)
    picture = base64.b64encode(data.tobytes()).decode()
    warnings = "".join(f"<li>{html.escape(notice.message)}</li>" for notice in result.warnings)
    return (
        f"<p><code>{html.escape(summary(result))}</code></p>"
        f'<img alt="preview" width="{PREVIEW_WIDTH_PX}" src="data:image/jpeg;base64,{picture}">'
        + (f"<ul>{warnings}</ul>" if warnings else "")
    )
