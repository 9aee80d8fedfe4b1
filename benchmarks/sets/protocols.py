"""The protocols of published pose and depth evaluations, as data. Their source is in each `source`.

Where a protocol pairs frames and truth by their order and not by their times, it is reproduced and called so, and the
same frames are compared by time beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.sets.alignments import adam_absolute, least_absolute_scale, resize_cubic
from benchmarks.sets.recordings import Pairing, Task
from recon4d.core.errors import ConfigError
from recon4d.evaluate import FARTHEST_TRUTH_M, NEAREST_TRUTH_M
from recon4d.evaluate.depth import ALIGNMENTS, Pixels, least_absolute, resize_nearest

MAX_DIFF_S = 0.02
"""Largest difference of the times of a frame and its pose or depth image: TUM RGB-D's own association."""
DATASETS = ("tum", "bonn", "sintel", "kitti", "tumlike")
NAMES = ("monst3r", "align3r", "all")
"""Protocols; the first that a data set has is its default."""


@dataclass(frozen=True)
class Frames:
    """Which frames of a sequence are used: indices `start` to `stop - 1`, every `stride`-th, at most `most`."""

    among: Literal["files", "matches", "list"]
    """`files`: images by name; `matches`: images of rgb.txt that have a pose within `MAX_DIFF_S`; `list`: rgb.txt."""
    start: int = 0
    stop: int | None = None
    stride: int = 1
    most: int | None = None
    pairings: tuple[Pairing, ...] = ("time",)
    """How truth is compared, the protocol's own way first."""
    meaning: str = ""
    folder: str = ""
    """Where the images are, of a data set that has them in several forms."""

    @property
    def count(self) -> int | None:
        """Frames of a complete sequence; None where all are used."""
        return self.most if self.stop is None else self.stop - self.start

    def cut(self) -> slice:
        """The slice that a sequence, or its truth where it is paired by rows, is cut by."""
        stop = self.stop
        if stop is None and self.most is not None:
            stop = self.start + self.stride * self.most
        return slice(self.start, stop, self.stride)


@dataclass(frozen=True)
class Fit:
    """How predicted depth is brought to the truth's scale."""

    meaning: str
    align: Callable[[Pixels, Pixels], tuple[float, float]]
    """(scale, shift) from the prediction and the truth of a whole sequence."""


@dataclass(frozen=True)
class Depth:
    """How depth is compared."""

    nearest_m: float
    farthest_m: float
    """Pixels count whose true depth is strictly between the two."""
    clip_m: tuple[float | None, float | None]
    """The aligned prediction is clipped to this; None: it is not."""
    fits: Mapping[str, Fit]
    """By `--depth-scale`; the first is the default."""
    resize: Callable[[np.ndarray, tuple[int, ...]], np.ndarray] = resize_cubic
    """Brings a prediction to the truth's size."""

    @property
    def meaning(self) -> str:
        """In words."""
        far = "no cap" if np.isinf(self.farthest_m) else f"truth below {self.farthest_m:g} m"
        near = "" if self.nearest_m == 0 else f" and above {self.nearest_m:g} m"
        low, high = self.clip_m
        clip = "aligned depth is not clipped"
        if high is not None:
            low_text = "" if low is None else f"at least {low:g} m and "
            clip = f"aligned depth is clipped to {low_text}at most {high:g} m"
        kind = "cubic" if self.resize is resize_cubic else "nearest pixel"
        return f"{far}{near}; {clip}; predictions resized to the truth's size ({kind})"


@dataclass(frozen=True)
class Protocol:
    """An evaluation on one data set."""

    dataset: str
    name: str
    source: str
    frames: Frames
    depth: Depth | None
    has_poses: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def sequences(self) -> tuple[str, ...] | None:
        """Official names; None: the folders that are there."""
        return SEQUENCES.get(self.dataset)

    @property
    def official(self) -> int | None:
        """Sequences that published averages are over; None where there are none."""
        return KITTI_DRIVES if self.dataset == "kitti" else len(self.sequences or ()) or None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it measures."""
        tasks: list[Task] = ["pose"] if self.has_poses else []
        return (*tasks, "depth") if self.depth is not None else tuple(tasks)


_NONE = Fit("none: the depth as it is", ALIGNMENTS["none"])
_MONST3R_FITS = {
    "sequence": Fit(
        'one scale per sequence, ten re-weightings towards least absolute deviations: CUT3R\'s "scale"',
        least_absolute_scale,
    ),
    "scale_shift": Fit(
        'one scale and shift per sequence by Adam on the absolute error, 1000 steps of 1e-4: MonST3R\'s "scale&shift"; '
        "of more than 2 million pixels an even selection",
        adam_absolute,
    ),
    "none": _NONE,
}
_ALIGN3R_FITS = {
    "scale_shift": Fit(
        "one scale and shift per sequence by least absolute deviations (BFGS): Align3R's; of more than 200,000 pixels "
        "an even selection",
        least_absolute,
    ),
    "none": _NONE,
}
_OWN_FITS = {
    "sequence": Fit(
        "one scale per sequence, the median of truth / prediction: recon4d eval's",
        ALIGNMENTS["sequence"],
    ),
    "scale_shift": Fit(
        "one scale and shift per sequence by least absolute deviations: recon4d eval's",
        ALIGNMENTS["scale_shift"],
    ),
    "none": _NONE,
}
_MONST3R_DEPTH = Depth(0, 70, (None, None), _MONST3R_FITS)
_SINTEL_DEPTH = Depth(0, 70, (None, 70), _MONST3R_FITS)
_KITTI_DEPTH = Depth(0, np.inf, (None, None), _MONST3R_FITS)
_ALIGN3R_DEPTH = Depth(0, 70, (1e-5, 70), _ALIGN3R_FITS)
_OWN_DEPTH = Depth(NEAREST_TRUTH_M, FARTHEST_TRUTH_M, (None, None), _OWN_FITS, resize_nearest)

_BOTH: tuple[Pairing, ...] = ("rows", "time")
_TUM_90 = Frames(
    "matches",
    stride=3,
    most=90,
    meaning="images and poses associated by time (less than 0.02 s apart, each used once), every 3rd match, the first "
    "90; each frame has the pose that it was associated with",
)
_TUM_50 = Frames(
    "files", 30, 80, pairings=_BOTH, meaning="images 30 to 79 in the order of their names"
)
_BONN_110 = Frames(
    "files", 30, 140, pairings=_BOTH, meaning="images 30 to 139 in the order of their names"
)
_ALL = Frames("list", meaning="every frame")
_SINTEL_FINAL = Frames("files", meaning="every frame", folder="final")
_SINTEL_CLEAN = Frames("files", meaning="every frame", folder="clean")
_KITTI_110 = Frames("files", 0, 110, meaning="the first 110 frames that have true depth")

BONN_SEQUENCES = ("balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous")
SINTEL_SEQUENCES = (
    *("alley_2", "ambush_4", "ambush_5", "ambush_6", "cave_2", "cave_4", "market_2"),
    *("market_5", "market_6", "shaman_3", "sleeping_1", "sleeping_2", "temple_2", "temple_3"),
)
SEQUENCES: Mapping[str, tuple[str, ...]] = {
    "tum": tuple(
        f"rgbd_dataset_freiburg3_{what}_{how}"
        for what in ("sitting", "walking")
        for how in ("halfsphere", "rpy", "static", "xyz")
    ),
    "bonn": BONN_SEQUENCES,
    "sintel": SINTEL_SEQUENCES,
}
"""Of published averages; of KITTI all drives of the validation part."""
KITTI_DRIVES = 13
"""Of the validation part of KITTI's depth."""
_ROW_CUT = (
    "the protocol pairs the n-th frame with the n-th row (or depth image) of its cut and ignores the times: TUM's "
    "motion capture runs at about 100 Hz and its camera at 30, so that 50 rows span about 0.5 s and 50 frames about "
    "1.7 s; 'row cut' is that, and not comparable with any association by time: Sim(3) shrinks a path onto the shorter "
    "truth, so that its ATE can be smaller than that of the same path by time"
)
_BONN_CUT = (
    "the protocol pairs the n-th frame with the n-th row (or depth image) of its cut and ignores the times; 'row cut' "
    "is that, 'by time' the same frames with the truth of their times"
)

_ALL_PROTOCOLS = (
    Protocol(
        "tum",
        "monst3r",
        "MonST3R's prepare_tum.py, as CUT3R and pi3 use it; depth there is ours: the same frames, measured as on Bonn",
        _TUM_90,
        _MONST3R_DEPTH,
    ),
    Protocol(
        "tum",
        "align3r",
        "Align3R's prepare_tum.py and eval_metadata.py",
        _TUM_50,
        _ALIGN3R_DEPTH,
        remarks=(_ROW_CUT,),
    ),
    Protocol(
        "bonn",
        "monst3r",
        "MonST3R's prepare_bonn.py and its depth evaluation",
        _BONN_110,
        _MONST3R_DEPTH,
        remarks=(_BONN_CUT,),
    ),
    Protocol(
        "bonn",
        "align3r",
        "MonST3R's frames, which Align3R uses unchanged, and Align3R's alignment of depth",
        _BONN_110,
        _ALIGN3R_DEPTH,
        remarks=(
            _BONN_CUT,
            "Align3R's own figures have their depth enlarged by a network (PromptDA) first",
        ),
    ),
    Protocol(
        "sintel",
        "monst3r",
        "MonST3R's evaluation: 14 sequences of the final pass",
        _SINTEL_FINAL,
        _SINTEL_DEPTH,
    ),
    Protocol(
        "sintel",
        "align3r",
        "Align3R's eval_metadata.py: 14 sequences of the clean pass; its alignment of depth",
        _SINTEL_CLEAN,
        _ALIGN3R_DEPTH,
    ),
    Protocol(
        "kitti",
        "monst3r",
        "MonST3R's prepare_kitti.py and its depth evaluation",
        _KITTI_110,
        _KITTI_DEPTH,
        has_poses=False,
    ),
    Protocol("tumlike", "all", "recon4d eval's: every frame, truth by time", _ALL, _OWN_DEPTH),
    Protocol("tumlike", "monst3r", "MonST3R's on TUM, applied here", _TUM_90, _MONST3R_DEPTH),
    Protocol(
        "tumlike",
        "align3r",
        "Align3R's on TUM, applied here",
        _TUM_50,
        _ALIGN3R_DEPTH,
        remarks=(_ROW_CUT,),
    ),
)
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    dataset: {p.name: p for p in _ALL_PROTOCOLS if p.dataset == dataset} for dataset in DATASETS
}
"""By data set and name; the first of each data set is its default."""


def datasets(task: Task) -> tuple[str, ...]:
    """Data sets that have a protocol for poses or for depth."""
    return tuple(
        dataset
        for dataset, named in PROTOCOLS.items()
        if any(task in protocol.tasks for protocol in named.values())
    )


def protocol_of(dataset: str, name: str | None, task: Task) -> Protocol:
    """Return a protocol by name, or the default of the data set.

    Raises:
        ConfigError: The data set has no such protocol.
    """
    named = {n: p for n, p in PROTOCOLS[dataset].items() if task in p.tasks}
    if name is None:
        return next(iter(named.values()))
    if name not in named:
        raise ConfigError(
            f"--protocol {name} has no {task} on {dataset}; available there: {', '.join(named)}"
        )
    return named[name]
