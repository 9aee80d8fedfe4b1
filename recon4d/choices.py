"""The table of all that is chosen by name: where each method is, and whose weights it reads. Imports nothing of ours.

Names on the command line, help texts, the check of `--weights` and what `recon4d train` offers follow from here. A
package of anybody's adds a method without a line here by an entry point in a group of `GROUPS`:

    [project.entry-points."recon4d.masks"]
    mine = "my_package.my_masks"
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoints, distributions
from types import ModuleType


@dataclass(frozen=True)
class Entry:
    """One method."""

    module: str | None
    """The module whose `make(resources)` gives the method; None: nothing is to be made."""
    weights: tuple[str, ...] = ()
    """Names, as in `--weights NAME=PATH`, of the weights that it may read; its own first."""
    tokens: str | None = None
    """Of a geometry: the module whose `tokens(backbone, device)` D2MIF can be trained with."""
    about: str = ""
    """What it is, for help texts that say it."""


MASKS = {
    "d2mif": Entry("recon4d.masks.d2mif.method", ("d2mif",)),
    "residual": Entry("recon4d.masks.residual"),
    "none": Entry("recon4d.masks.none"),
    "easi3r": Entry("recon4d.masks.easi3r.features", ("easi3r", "depth-anything", "depth-pro")),
    "geomotion": Entry("recon4d.masks.geomotion", ("geomotion", "raft")),
}
"""`make(resources) -> recon4d.masks.MaskMethod`; the first of every table is the default."""
FLOW = {
    "dis": Entry("recon4d.flow.dis"),
    "raft": Entry("recon4d.flow.raft", ("raft",)),
}
"""`make(resources) -> recon4d.flow.FlowMethod`."""
REFINE = {
    "edges": Entry("recon4d.masks.refine.edges"),
    "sam2": Entry("recon4d.masks.refine.sam2_refine", ("sam2",)),
    "none": Entry("recon4d.masks.refine.plain"),
}
"""`make(resources) -> recon4d.masks.Refiner`."""
_CROCO = "recon4d.networks.croco.tokens"
GEOMETRY = {
    "parallax": Entry(None),
    "rgbd": Entry(None),
    "dust3r": Entry("recon4d.priors.pairs", ("dust3r",), _CROCO),
    "monst3r": Entry("recon4d.priors.pairs", ("monst3r",), _CROCO),
    "align3r": Entry("recon4d.priors.pairs", ("align3r", "depth-anything", "depth-pro"), _CROCO),
    "pi3": Entry("recon4d.priors.chunks", ("pi3",), "recon4d.networks.pi3.tokens"),
    "depth-anything": Entry("recon4d.priors.mono", ("depth-anything",)),
    "depth-pro": Entry("recon4d.priors.mono", ("depth-pro",)),
}
"""`make(resources) -> recon4d.priors.Prior`; without a module the input itself, or flow alone, tells the depth."""
EXPORT = {
    "ply": Entry("recon4d.export.clouds", about="static cloud, and moving cloud per frame"),
    "colmap": Entry("recon4d.export.colmap", about="images, masks, sparse model, depth"),
    "nerfstudio": Entry(
        "recon4d.export.nerfstudio", about="transforms.json, images, masks, depth, points"
    ),
    "glb": Entry("recon4d.export.glb", about="points, animated, and cameras (Blender, browsers)"),
    "tracks": Entry("recon4d.export.tables", about="followed points and objects, as CSV"),
    "overlay": Entry("recon4d.export.pictures", about="masks over the images"),
}
"""`make() -> recon4d.export.views.Exporter`."""
GROUPS = {"masks": MASKS, "flow": FLOW, "refine": REFINE, "geometry": GEOMETRY, "export": EXPORT}
"""The tables by their option; `recon4d.` before it is the group of entry points that adds to them."""


@cache
def table(option: str) -> dict[str, Entry]:
    """Everything that an option can be: ours, then what other packages add; ours cannot be replaced."""
    found = _all_entry_points().select(group=f"recon4d.{option}")
    theirs = {each.name: Entry(each.value) for each in found}
    return {**GROUPS[option], **{k: v for k, v in theirs.items() if k not in GROUPS[option]}}


@cache
def _all_entry_points() -> EntryPoints:
    """Of all packages that are installed: looking at them once takes 15 ms."""
    return EntryPoints(each for part in distributions() for each in part.entry_points)


def module_of(option: str, name: str) -> ModuleType:
    """Import the module of a method, which is in the table and has one."""
    module = table(option)[name].module
    assert module is not None, "nothing is to be made"
    return import_module(module)


def weight_names() -> tuple[str, ...]:
    """Every name that `--weights NAME=PATH` knows."""
    entries = [each for option in GROUPS for each in table(option).values()]
    return tuple(dict.fromkeys(name for each in entries for name in each.weights))


def readers(weights: str) -> str:
    """The options whose methods read weights of a name, for messages: `--flow raft or --masks geomotion`."""
    found = [
        f"--{option} {name}"
        for option in GROUPS
        for name, each in table(option).items()
        if weights in each.weights
    ]
    return " or ".join(found)


def with_tokens() -> tuple[str, ...]:
    """Networks whose tokens D2MIF can be trained with."""
    return tuple(name for name, each in table("geometry").items() if each.tokens is not None)
