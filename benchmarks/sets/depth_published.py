"""Published figures of video depth: Abs Rel, and delta < 1.25 in percent. Compare only inside a block.

"Second-hand": from notes on a paper, not read at their source.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One method on one data set; None where the source has no such figure."""

    method: str
    abs_rel: float | None = None
    delta_1: float | None = None


@dataclass(frozen=True)
class Block:
    """Figures of one source under one protocol."""

    source: str
    rows: tuple[Published, ...]


_MUBE4D = "MuBe4D (Information Fusion 133, 2026); that its protocol is Align3R's is our reading"
_ALIGN3R = "Align3R, its own protocol (second-hand)"
_E3D = "E3D-Bench (second-hand; its frames and its alignment are not stated in our notes)"


def _cut3r_scale(*figures: tuple[float, float]) -> Block:
    methods = ("DUSt3R-GA", "MASt3R-GA", "MonST3R-GA", "CUT3R")
    rows = (Published(m, a, d) for m, (a, d) in zip(methods, figures, strict=True))
    return Block("CUT3R, table 2, scale", tuple(rows))


def _later_scale(*figures: float) -> Block:
    methods = ("Point3R", "STREAM3R-a", "StreamVGGT", "VGGT")
    rows = (Published(m, a) for m, a in zip(methods, figures, strict=True))
    return Block("later papers with CUT3R's scale", tuple(rows))


def _monst3r_shift(*figures: tuple[float, float]) -> Block:
    methods = ("DepthCrafter", "MonST3R", "Geo4D")
    rows = (Published(m, a, d) for m, (a, d) in zip(methods, figures, strict=True))
    return Block("MonST3R, scale&shift (Geo4D's own figure beside it)", tuple(rows))


def _cut3r_shift(*figures: float) -> Block:
    methods = ("DUSt3R-GA", "MASt3R-GA", "MonST3R-GA", "CUT3R")
    rows = (Published(m, a) for m, a in zip(methods, figures, strict=True))
    return Block("CUT3R's re-run, scale&shift", tuple(rows))


def _d4rt(how: str, *figures: float) -> Block:
    methods = ("MegaSaM", "VGGT", "pi3")
    rows = (Published(m, a) for m, a in zip(methods, figures, strict=True))
    return Block(f"D4RT, table 5, {how} (second-hand)", tuple(rows))


def _pi3(figure: float) -> Block:
    source = "pi3 (second-hand; its alignment is not stated in our notes)"
    return Block(source, (Published("pi3", figure),))


def _align3r(*figures: float) -> Block:
    methods = ("DUSt3R", "MonST3R", "Align3R (Depth Pro)")
    rows = (Published(m, a) for m, a in zip(methods, figures, strict=True))
    return Block(_ALIGN3R, tuple(rows))


_TUM_E3D = (
    Block(
        _E3D,
        (
            Published("VGGT", 0.068),
            Published("Geo4D", 0.096),
            Published("GeometryCrafter", 0.115),
            Published("Aether", 0.192),
        ),
    ),
)
PUBLISHED: dict[tuple[str, str, str], tuple[Block, ...]] = {
    ("tum", "monst3r", "sequence"): _TUM_E3D,
    ("tum", "monst3r", "scale_shift"): _TUM_E3D,
    ("tum", "align3r", "scale_shift"): (
        Block(_MUBE4D, (Published("Align3R", 0.115, 87.6), Published("MuBe4D", 0.101, 88.4))),
    ),
    ("bonn", "monst3r", "sequence"): (
        _cut3r_scale((0.155, 83.3), (0.252, 70.1), (0.067, 96.3), (0.078, 93.7)),
        _later_scale(0.060, 0.075, 0.059, 0.057),
        _d4rt("scale", 0.056, 0.055, 0.033),
        _pi3(0.043),
    ),
    ("bonn", "monst3r", "scale_shift"): (
        _monst3r_shift((0.075, 97.1), (0.063, 96.4), (0.059, 97.2)),
        _cut3r_shift(0.156, 0.167, 0.066, 0.074),
        _d4rt("scale&shift", 0.056, 0.051, 0.032),
        _pi3(0.043),
    ),
    ("bonn", "align3r", "scale_shift"): (
        _align3r(0.154, 0.082, 0.068),
        Block(_MUBE4D, (Published("Align3R", 0.070), Published("MuBe4D", 0.044))),
    ),
    ("sintel", "monst3r", "sequence"): (
        _cut3r_scale((0.656, 45.2), (0.641, 43.9), (0.378, 55.8), (0.421, 47.9)),
        _later_scale(0.452, 0.478, 0.328, 0.298),
        _pi3(0.210),
    ),
    ("sintel", "monst3r", "scale_shift"): (
        _monst3r_shift((0.292, 69.7), (0.335, 58.5), (0.205, 73.5)),
        _cut3r_shift(0.531, 0.327, 0.333, 0.454),
        _pi3(0.210),
    ),
    ("sintel", "align3r", "scale_shift"): (_align3r(0.422, 0.335, 0.263),),
    ("kitti", "monst3r", "sequence"): (
        _cut3r_scale((0.144, 81.3), (0.183, 74.5), (0.168, 74.4), (0.118, 88.1)),
        _later_scale(0.136, 0.116, 0.173, 0.061),
        _d4rt("scale", 0.109, 0.094, 0.055),
        _pi3(0.037),
    ),
    ("kitti", "monst3r", "scale_shift"): (
        _monst3r_shift((0.110, 88.1), (0.104, 89.5), (0.086, 93.7)),
        _cut3r_shift(0.135, 0.137, 0.157, 0.106),
        _d4rt("scale&shift", 0.101, 0.067, 0.053),
        _pi3(0.037),
    ),
}
"""By data set, protocol and `--depth-scale`."""
