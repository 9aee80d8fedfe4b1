"""Easi3R: from cross-attention to masks, and its network, against the official code."""

from typing import Any

import numpy as np

from benchmarks.parity import Compared, Fixture
from recon4d.masks.easi3r import (
    CLASS_COUNTS,
    EdgeAttention,
    Side,
    class_score,
    dynamic_map,
    fuse_channels,
    masks_from_map,
    multi_otsu,
    otsu_thresholds,
    refine_by_cluster,
    sides,
    stretch,
    token_masks,
)

ATOL = 3e-5
"""Of golden/README.md; masks have to be the same."""


def compare(fixture: Fixture) -> list[Compared]:
    """Compare the masks' steps, then the network with and without re-weighting."""
    from benchmarks.peers.croco import compare_attention

    network: list[Compared] = compare_attention(fixture)
    return compare_aggregation(fixture) + network


def compare_aggregation(fixture: Fixture) -> list[Compared]:
    """Compare every step from the attention of pairs to masks, with the clusters of the official run."""
    a = fixture.arrays
    attention = EdgeAttention(
        a["agg/edges"], a["agg/pred1_cross_atten_maps_k"], a["agg/pred2_cross_atten_maps_k"]
    )
    as_second, as_first = sides(attention, len(a["agg/features_per_image"]))
    dynamic = dynamic_map(as_second, as_first)
    refined = refine_by_cluster(dynamic, a["agg/kmeans_labels"])
    masks = masks_from_map(refined)
    found = _side("i", as_second) | _side("j", as_first)
    found["dynamic_map"], found["refined_dynamic_map"] = dynamic, refined
    found["upsampled_map_frame0"] = masks.probability[0]
    found["threshold"] = np.asarray(masks.threshold)
    compared = fixture.against({f"agg/{k}": v for k, v in found.items()}, ATOL)
    compared.append(Compared("agg/mask", masks.is_dynamic, a["agg/mask"] > 0, 0, 0))
    return compared + _otsu(fixture) + _tokens(fixture)


def _tokens(fixture: Fixture) -> list[Compared]:
    compared = []
    for view, side in ((1, "x"), (2, "y")):
        name = f"net/mask/dec1/block00_in_mask_{side}"
        pooled = token_masks(fixture.arrays[f"net/in/atten_mask{view}"] > 0)
        theirs = fixture.arrays[name]
        compared.append(Compared(name, pooled.reshape(theirs.shape), theirs, 0, 0))
    return compared


def _side(name: str, side: Side) -> dict[str, np.ndarray]:
    found = {}
    for what, maps in (("mean", side.mean), ("var", side.deviation)):
        found[f"raw_k_{name}_{what}"] = maps
        found[f"norm_k_{name}_{what}"] = stretch(maps)
        found[f"fused_k_{name}_{what}"] = fuse_channels(maps)
    return found


def _otsu(fixture: Fixture) -> list[Compared]:
    values = fixture.arrays["otsu/img"]
    found: dict[str, Any] = {"otsu/best": multi_otsu(values)}
    for classes in CLASS_COUNTS:
        thresholds = otsu_thresholds(values, classes)
        found[f"otsu/thresholds_{classes}"] = thresholds
        found[f"otsu/score_{classes}"] = class_score(values, thresholds)
    return fixture.against(found, ATOL)
