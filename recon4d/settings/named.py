"""The options of a run that take a name."""

from recon4d.choices import table
from recon4d.settings.option import Choice

CHOICES = {
    "masks": Choice(
        now=tuple(table("masks")), other="an existing folder with one mask image per frame"
    ),
    "masks_mean": Choice(now=("moving", "static")),
    "geometry": Choice(now=tuple(table("geometry"))),
    "depth_kind": Choice(now=("auto", "depth", "disparity")),
    "depth_scale": Choice(now=("auto", "metric", "relative", "affine")),
    "flow": Choice(now=tuple(table("flow"))),
    "refine": Choice(now=tuple(table("refine"))),
    "focal": Choice(now=("auto", "shared", "per-frame")),
    "lens": Choice(now=("auto", "pinhole", "radial", "fisheye")),
    "device": Choice(now=("auto", "cpu", "cuda")),
    "executor": Choice(now=("local", "ray")),
}
"""By the name of the option."""
