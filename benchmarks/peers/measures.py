"""Published measures of depth and masks: recon4d's functions against the official numbers."""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.parity import Compared, Fixture
from benchmarks.sets import alignments
from recon4d.evaluate import masks as mask_module
from recon4d.evaluate.depth import error_sums, least_absolute, mean_errors

Array = NDArray[Any]
METRIC_TOLERANCE = 1e-5
"""Of golden/README.md."""
CHAOTIC_RTOL = 5e-3
"""Of the re-weighted scale in float32."""


@dataclass(frozen=True)
class DepthCase:
    """Options of one published evaluation of depth."""

    align: Callable[[Array, Array], tuple[float, float]]
    farthest_m: float | None = 80.0
    """Largest true depth that counts."""
    clip_m: float | None = None
    """Largest aligned depth."""
    rtol: float = 2 * METRIC_TOLERANCE
    before_m: tuple[float, float] | None = None
    """Range that the prediction is clipped to before it is aligned."""


def _fast_adam(prediction: Array, truth: Array) -> tuple[float, float]:
    return alignments.adam_absolute(prediction, truth, 1e-3)


def _as_it_is(prediction: Array, truth: Array) -> tuple[float, float]:
    return 1.0, 0.0


_SCALE, _LAD2 = alignments.least_absolute_scale, alignments.adam_absolute
_MEDIAN = alignments.ratio_of_medians
DEPTH_CASES: Mapping[str, DepthCase] = {
    "depth/{}_median": DepthCase(_MEDIAN),
    "depth/{}_median_max70_clip70": DepthCase(_MEDIAN, 70, 70),
    "depth/{}_median_custom_mask": DepthCase(_MEDIAN),
    "depth/{}_scale_max70_clip70": DepthCase(_SCALE, 70, 70, CHAOTIC_RTOL),
    "depth/{}_scale_nomax": DepthCase(_SCALE, None, None, CHAOTIC_RTOL),
    "depth/{}_preclip_scale": DepthCase(_SCALE, 70, None, CHAOTIC_RTOL, (1e-3, 70)),
    "depth/{}_lstsq": DepthCase(alignments.least_squares, 70),
    "depth/{}_lad_bfgs": DepthCase(least_absolute, 70),
    "depth/{}_lad2_max70_clip70": DepthCase(_LAD2, 70, 70),
    "depth/{}_lad2_lr1e-3": DepthCase(_fast_adam, 70),
    "depth/{}_lad2_nomax": DepthCase(_LAD2, None),
    "depth64/{}_scale_max70_clip70": DepthCase(_SCALE, 70, 70),
    "depth64/{}_lad2_max70_clip70": DepthCase(_LAD2, 70, 70),
    "depth64/{}_median_max70_clip70": DepthCase(_MEDIAN, 70, 70),
    "depth/{}_cut3r_metric": DepthCase(_as_it_is, 70, 70),
}
"""By what the fixture calls them."""
SCALE_ATOL = 3e-5
"""BFGS stops anywhere within 2e-5 of the optimum."""


def compare(fixture: Fixture) -> list[Compared]:
    """Compare the errors of depth under every published alignment, and the measures of masks."""
    compared = []
    for name, case in DEPTH_CASES.items():
        compared += _depth_case(fixture, name, case)
    return compared + _regions(fixture) + _contours(fixture) + _statistics(fixture)


def _depth_case(fixture: Fixture, name: str, case: DepthCase) -> list[Compared]:
    truth, prediction, chosen = (
        fixture.arrays[f"depth/{k}"].ravel().astype(np.float64)
        for k in ("gt", "pred", "custom_mask")
    )
    valid = (truth > 0) & (truth < (case.farthest_m or np.inf))
    if case.before_m is not None:
        prediction = np.clip(prediction, *case.before_m)
    scale, shift = case.align(prediction[valid], truth[valid])
    if name.endswith("custom_mask"):
        valid &= chosen > 0
    aligned = np.clip(scale * prediction[valid] + shift, None, case.clip_m)
    errors = mean_errors(error_sums(aligned, truth[valid], np.ones(valid.sum(), bool)))
    *measures, _, pixels = astuple(errors)
    found = np.array((*measures, pixels))
    compared = fixture.against({name.format("metrics"): found}, METRIC_TOLERANCE, case.rtol)
    fit = name.format("scale_shift")
    if fit in fixture.arrays:
        compared += fixture.against({fit: np.array((scale, shift))}, SCALE_ATOL, case.rtol)
    return compared


def _regions(fixture: Fixture) -> list[Compared]:
    truth, found, void = (fixture.arrays[f"davis/{k}"] > 0 for k in ("gt", "pred", "void"))
    pairs = list(zip(found, truth, strict=True))
    hidden = list(zip(found, truth, void, strict=False))
    measures = {
        "davis/J": [mask_module.jaccard(*pair) for pair in pairs],
        "davis/F": [mask_module.contour_f(*pair) for pair in pairs],
        "davis/J_void": [mask_module.jaccard(*one) for one in hidden],
        "davis/F_void": [mask_module.contour_f(*one) for one in hidden],
    }
    for bound, name in ((0.02, "th0.02"), (3.0, "th3px")):
        values = [mask_module.contour_f(p, t, bound=bound) for p, t, _ in hidden]
        measures[f"davis/F_bound_{name}"] = values
    arrays = {name: np.array(values) for name, values in measures.items()}
    return fixture.against(arrays, METRIC_TOLERANCE)


def _contours(fixture: Fixture) -> list[Compared]:
    exact: dict[str, Array | float] = {}
    for name in ("gt", "pred"):
        masks = fixture.arrays[f"davis/{name}"] > 0
        count = len(fixture.arrays[f"davis/boundary_{name}"])
        exact[f"davis/boundary_{name}"] = np.stack([mask_module.contour(m) for m in masks[:count]])
    for height, width in ((96, 128), (480, 854)):
        exact[f"davis/radius_{height}x{width}"] = mask_module.tolerance_px((height, width))
    for radius in (2, 8):
        exact[f"davis/disk_{radius}"] = mask_module._disk(radius)
    return fixture.against(exact, 0, 0)


def _statistics(fixture: Fixture) -> list[Compared]:
    values = fixture.arrays["davis/stat_values"].astype(np.float64)
    found = np.array(astuple(mask_module.statistics(values)))
    return fixture.against({"davis/stat_mean_recall_decay": found}, METRIC_TOLERANCE)
