"""Published figures of camera poses: ATE and RPE-t in metres, RPE-r in degrees. Compare only inside a block.

"Second-hand": from notes on a paper, not read at their source.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One method on one data set; None where the source has no such figure."""

    method: str
    ate: float | None = None
    rpe_translation: float | None = None
    rpe_rotation_deg: float | None = None


@dataclass(frozen=True)
class Block:
    """Figures of one source under one protocol."""

    source: str
    rows: tuple[Published, ...]


_TUM = (
    Block(
        "CUT3R, tables 3 and 8 (second-hand, copied word for word)",
        (
            Published("DUSt3R-GA", 0.083, 0.017, 3.567),
            Published("MASt3R-GA", 0.038, 0.012, 0.448),
            Published("MonST3R-GA", 0.098, 0.019, 0.935),
            Published("CasualSAM", 0.071, 0.010, 1.712),
            Published("LEAP-VO (true intrinsics)", 0.068, 0.008, 1.686),
            Published("Spann3R", 0.056, 0.021, 0.591),
            Published("CUT3R", 0.046, 0.015, 0.473),
        ),
    ),
    Block(
        "pi3 and papers that compare with it (second-hand)",
        (
            Published("Fast3R", 0.090),
            Published("CUT3R", 0.047),
            Published("FLARE", 0.026),
            Published("VGGT", 0.012, 0.010, 0.311),
            Published("pi3", 0.014, 0.009, 0.312),
            Published("WorldMirror", 0.010),
            Published("HD-VGGT", 0.009),
        ),
    ),
    Block(
        "MonST3R's maintainers (Junyi42/monst3r, issue 42), after the change of the split in 2024",
        (
            Published("DUSt3R", 0.127, 0.062, 3.099),
            Published("MonST3R", 0.072, 0.018, 0.845),
            Published("MonST3R, re-run by a user", 0.104, 0.022, 1.037),
        ),
    ),
    Block(
        "VGGT4D, table 2 (second-hand)",
        (
            Published("MonST3R", 0.156, 0.103, 12.041),
            Published("Easi3R (DUSt3R)", 0.063, 0.046, 2.523),
            Published("Easi3R (MonST3R)", 0.133, 0.120, 4.366),
            Published("CUT3R", 0.054, 0.041, 5.346),
            Published("SpatialTrackerV2", 0.054, 0.041, 2.530),
            Published("DAS3R", 0.155, 0.102, 12.038),
            Published("VGGT", 0.017, 0.020, 0.617),
            Published("VGGT4D", 0.016, 0.020, 0.612),
        ),
    ),
    Block(
        "Easi3R, with flow (second-hand)",
        (
            Published("DUSt3R", 0.071),
            Published("Easi3R (DUSt3R)", 0.070),
            Published("MonST3R", 0.170),
            Published("Easi3R (MonST3R)", 0.168),
            Published("CUT3R", 0.079),
        ),
    ),
    Block(
        "a paper on tracking and optimization (second-hand; its frames are not stated in our notes)",
        (
            Published("MonST3R", 0.063),
            Published("Align3R", 0.027),
            Published("Uni4D", 0.039),
            Published("theirs", 0.016),
        ),
    ),
    Block(
        "MoRe (second-hand)",
        (
            Published("VGGT", 0.0109),
            Published("CUT3R", 0.0438),
            Published("Stream3R", 0.0240),
            Published("MoRe", 0.0260),
        ),
    ),
)
_BONN = (
    Block(
        "a paper on tracking and optimization (second-hand)",
        (
            Published("MonST3R", 0.029),
            Published("Align3R", 0.023),
            Published("Uni4D", 0.017),
            Published("theirs", 0.016),
        ),
    ),
    Block(
        "MoRe (second-hand)",
        (
            Published("VGGT", 0.0141),
            Published("CUT3R", 0.0420),
            Published("Stream3R", 0.0235),
            Published("MoRe", 0.0211),
        ),
    ),
    Block(
        "MuBe4D (Information Fusion 133, 2026)",
        (
            Published("Align3R", rpe_rotation_deg=1.553),
            Published("MuBe4D", rpe_rotation_deg=1.511),
        ),
    ),
)
PUBLISHED: dict[tuple[str, str], tuple[Block, ...]] = {
    ("tum", "monst3r"): _TUM,
    ("tum", "align3r"): (
        Block(
            "Align3R, its 50 frames (second-hand)",
            (
                Published("DUSt3R", 0.093),
                Published("MonST3R", 0.020),
                Published("Align3R (Depth Pro)", 0.012),
            ),
        ),
        Block(
            "MuBe4D (Information Fusion 133, 2026)",
            (Published("Align3R", 0.014), Published("MuBe4D", 0.012)),
        ),
    ),
    ("bonn", "monst3r"): _BONN,
    ("bonn", "align3r"): _BONN,
    ("sintel", "monst3r"): (
        Block(
            "MonST3R, ablation (second-hand)",
            (
                Published("MonST3R", 0.108),
                Published("MonST3R without flow loss", 0.140),
                Published("MonST3R without static mask", 0.132),
            ),
        ),
    ),
}
"""By data set and protocol."""
