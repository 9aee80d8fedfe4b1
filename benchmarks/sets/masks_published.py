"""Published figures of motion masks, in percent. Compare only inside a block: protocols differ between them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One method on one data set; None where the source has no such figure."""

    method: str
    jaccard: float | None = None
    recall: float | None = None
    both: float | None = None
    """J&F."""


@dataclass(frozen=True)
class Block:
    """Figures of one source under one protocol."""

    source: str
    rows: tuple[Published, ...]


_VGGT4D = "VGGT4D, table 1 (second-hand), without SAM 2; Easi3R's code compares at 512 px, averaged over all frames"
_SAM2 = "GeoMotion (CVPR 2026), all with SAM 2"
_MUBE4D = "MuBe4D (Information Fusion 133, 2026)"
_GEOMOTION = "GeoMotion (CVPR 2026), with SAM 2, averaged over all frames"
_MPNET = "MP-Net (2017), trained on synthetic flow alone; from memory, not checked at its source"


def _without_sam(*figures: tuple[float, float]) -> Block:
    methods = ("MonST3R", "DAS3R", "Easi3R (DUSt3R)", "Easi3R (MonST3R)", "VGGT4D")
    rows = (Published(m, j, r) for m, (j, r) in zip(methods, figures, strict=True))
    return Block(_VGGT4D, tuple(rows))


def _with_sam(*figures: float) -> Block:
    methods = ("MonST3R", "VGGT4D", "Easi3R (MonST3R)", "GeoMotion")
    return Block(_SAM2, tuple(Published(m, j) for m, j in zip(methods, figures, strict=True)))


PUBLISHED: dict[str, tuple[Block, ...]] = {
    "davis16": (
        _without_sam((40.4, 40.4), (41.1, 38.7), (50.1, 55.8), (54.9, 68.0), (62.1, 76.8)),
        _with_sam(64.3, 69.2, 70.7, 84.5),
        Block(_MUBE4D, (Published("MuBe4D", 79.3), Published("Easi3R + SAM", 65.9))),
        Block(
            _GEOMOTION,
            (
                Published("GeoMotion", both=84.7),
                Published("SegAnyMo", both=90.9),
                Published("RCF, stage 1", both=78.5),
                Published("ABR", both=72.5),
            ),
        ),
        Block(_MPNET, (Published("MP-Net", 62.6), Published("MP-Net + appearance", 70.0))),
    ),
    "davis17": (
        _without_sam((38.1, 36.1), (44.5, 44.0), (46.9, 50.5), (54.8, 66.2), (56.5, 65.6)),
        _with_sam(56.4, 60.0, 67.9, 81.1),
    ),
    "davis-all": (
        _without_sam((37.0, 34.5), (43.3, 38.9), (44.1, 50.9), (51.6, 63.1), (50.8, 55.6)),
        _with_sam(51.9, 54.8, 63.1, 74.8),
    ),
    "segtrackv2": (
        Block(
            _GEOMOTION,
            (
                Published("GeoMotion", 77.3),
                Published("SegAnyMo", 76.3),
                Published("RoMo", 67.7),
                Published("RCF, stage 1", 76.7),
                Published("ABR", 76.6),
            ),
        ),
    ),
    "fbms59": (
        Block(
            _MUBE4D,
            (
                Published("MuBe4D", 83.7),
                Published("ABR", 81.9),
                Published("OCLR, adapted", 80.9),
                Published("GeoMotion", 72.5),
            ),
        ),
    ),
}
"""Per data set of the benchmark."""
OFFICIAL = {"davis16": 20, "davis17": 30, "davis-all": 90, "segtrackv2": 14, "fbms59": 30}
"""Sequences that the published figures are averages of."""
