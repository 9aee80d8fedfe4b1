"""A result in one line, and as a notebook shows it.

Numbers here that name no source were set by hand.
"""

import base64
import html

import cv2
import numpy as np

from recon4d.results.preview import draw_preview
from recon4d.results.result import Result, summary

PREVIEW_WIDTH_PX = 960
"""Of the preview in a notebook: what a page is wide."""
JPEG_QUALITY = 80
"""Of the preview in a notebook, which is stored in it: about 100 kB."""


def summary_html(result: Result) -> str:
    """The line, the preview as a picture within the page, and the warnings."""
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
