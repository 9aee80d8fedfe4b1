"""Masks from cross-attention: the official numbers, and laws of every step."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.parity import Fixture
from benchmarks.peers.easi3r import compare_aggregation
from recon4d.core.errors import DegenerateError, InputError, MissingDependencyError
from recon4d.masks import easi3r
from recon4d.masks.easi3r import (
    EdgeAttention,
    class_score,
    cluster_tokens,
    easi3r_masks,
    enlarge,
    masks_from_map,
    multi_otsu,
    otsu_thresholds,
    refine_by_cluster,
    sides,
    stretch,
    token_masks,
)
from tests import needs

GOLDEN = Path(__file__).parents[1] / "../shared/golden/easi3r.npz"
needs_golden = needs.shared_file("golden/easi3r.npz")


def video_with_a_mover(frames: int = 4) -> tuple[EdgeAttention, np.ndarray, np.ndarray]:
    """Attention of all pairs and tokens, where tokens of a moving box differ from the rest."""
    rng = np.random.default_rng(3)
    moves = np.zeros((frames, 6, 8), bool)
    for frame in range(frames):
        moves[frame, 2:5, 1 + frame : 4 + frame] = True
    pairs = [(i, j) for i in range(frames) for j in range(frames) if i != j]
    edges = np.array(pairs)
    noise = rng.normal(size=(len(edges), 6, 8, 5)).astype(np.float32)
    # little and unsteady where the mover is second, much and steady where it is first
    second, first = moves[edges[:, 1], ..., None], moves[edges[:, 0], ..., None]
    on_second = np.where(second, -2 + noise, 2 + 0.1 * noise).astype(np.float32)
    on_first = np.where(first, 2 + 0.1 * noise, -2 + noise).astype(np.float32)
    tokens = rng.normal(size=(frames, 6, 8, 4)) + 20 * moves[..., None]
    return EdgeAttention(edges, on_second, on_first), tokens.astype(np.float32), moves


@needs_golden
def test_every_step_is_that_of_the_official_code() -> None:
    compared = compare_aggregation(Fixture.read(GOLDEN))
    names = {one.name for one in compared}
    stored = {k for k in Fixture.read(GOLDEN).arrays if k.startswith(("agg/", "otsu/"))}
    inputs = {"agg/edges", "agg/features_per_image", "agg/kmeans_labels", "otsu/img"}
    assert stored - names == inputs | {f"agg/pred{k}_cross_atten_maps_k" for k in (1, 2)}
    assert [one.name for one in compared if not one.holds] == []


@needs_golden
def test_swapping_the_two_sides_is_noticed() -> None:
    fixture = Fixture.read(GOLDEN)
    arrays = dict(fixture.arrays)
    arrays["agg/edges"] = arrays["agg/edges"][:, ::-1]
    compared = compare_aggregation(Fixture(fixture.path, arrays, fixture.described))
    assert not all(one.holds for one in compared if one.name.startswith("agg/"))


def test_a_moving_box_is_found() -> None:
    needs.package("sklearn", "models")
    attention, tokens, moves = video_with_a_mover()
    found = easi3r_masks(attention, tokens)
    assert found.is_dynamic.shape == (4, 96, 128)
    centres = found.is_dynamic[:, 8::16, 8::16]
    assert (centres & moves).sum() / (centres | moves).sum() > 0.9  # one token may be at the border


def test_clustering_is_the_same_every_time() -> None:
    needs.package("sklearn", "models")
    _, tokens, moves = video_with_a_mover()
    labels = cluster_tokens(tokens)
    assert np.array_equal(labels, cluster_tokens(tokens)) and labels.max() == 63
    assert not set(labels[moves]) & set(labels[~moves])
    assert cluster_tokens(tokens[:1, :2, :3]).max() == 5


def test_a_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingDependencyError, match="scikit-learn is not installed"):
        cluster_tokens(np.zeros((1, 2, 2, 3), np.float32))


def test_a_frame_of_one_pair_is_refused() -> None:
    maps = np.ones((3, 2, 2, 1), np.float32)
    edges = np.array([[0, 1], [1, 0], [0, 1]])
    with pytest.raises(InputError, match="frame 0 is the second of 1 pairs"):
        sides(EdgeAttention(edges, maps, maps), 2)


def test_the_first_token_is_the_mean_of_its_neighbours_and_the_input_stays() -> None:
    attention, _, _ = video_with_a_mover()
    attention.on_second[:, 0, 0] = 1e6
    second, _ = sides(attention, 4)
    wanted = (second.mean[:, 0, 1] + second.mean[:, 1, 0]) / 2
    np.testing.assert_allclose(second.mean[:, 0, 0], wanted, atol=1e-5)  # float32
    assert (attention.on_second[:, 0, 0] == 1e6).all()


def test_the_order_of_pairs_does_not_matter() -> None:
    attention, _, _ = video_with_a_mover()
    order = np.random.default_rng(0).permutation(len(attention.edges))
    shuffled = EdgeAttention(
        attention.edges[order], attention.on_second[order], attention.on_first[order]
    )
    for one, other in zip(sides(attention, 4), sides(shuffled, 4), strict=True):
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)  # float32 sums
        np.testing.assert_allclose(one.deviation, other.deviation, atol=1e-6)


def test_tokens_of_a_cluster_share_its_mean() -> None:
    dynamic = np.array([[[0.0, 1.0], [0.4, 0.8]]], np.float32)
    labels = np.array([[[3, 3], [0, 7]]])
    refined = refine_by_cluster(dynamic, labels)
    np.testing.assert_allclose(refined, stretch(np.array([[[0.5, 0.5], [0.4, 0.8]]])), atol=1e-6)


def test_enlarging_keeps_constants_and_the_centres_of_even_patches_are_near() -> None:
    np.testing.assert_allclose(enlarge(np.full((1, 2, 3), 0.3, np.float32)), 0.3, rtol=1e-6)
    ramp = np.tile(np.arange(4.0, dtype=np.float32), (1, 2, 1))
    large = enlarge(ramp)
    # pixel u has its centre at (u + 0.5) / 16 - 0.5 tokens
    np.testing.assert_allclose(large[0, 5, 8:56], (np.arange(8, 56) + 0.5) / 16 - 0.5, atol=1e-6)


def test_thresholds_separate_clear_groups() -> None:
    rng = np.random.default_rng(1)
    for centres in ((0.0, 1.0), (0.0, 0.4, 1.0), (0.0, 0.3, 0.6, 1.0)):
        values = np.concatenate([c + rng.uniform(-0.02, 0.02, 200) for c in centres])
        thresholds = otsu_thresholds(values, len(centres))
        half_bin = np.ptp(values) / easi3r.BINS / 2  # a threshold is the centre of a bin
        groups = np.digitize(values - half_bin, thresholds)
        assert np.array_equal(groups, np.repeat(np.arange(len(centres)), 200))


def test_thresholds_are_the_best_of_all() -> None:
    rng = np.random.default_rng(2)
    values = rng.beta(0.5, 0.8, 500)

    def within(thresholds: tuple[float, ...]) -> float:
        counts, borders = np.histogram(values, easi3r.BINS)
        centres = (borders[1:] + borders[:-1]) / 2
        group = np.digitize(centres, thresholds, right=True)
        total = 0.0
        for k in range(3):
            share, at = counts[group == k], centres[group == k]
            if share.sum():
                total += (share * (at - np.average(at, weights=share)) ** 2).sum()
        return total

    found = otsu_thresholds(values, 3)
    centres = np.histogram(values, easi3r.BINS)[1]
    for low in centres[5:250:20]:
        for high in centres[centres > low][:250:20]:
            assert within(found) <= within((low, high)) + 1e-9


def test_maps_of_one_value_are_refused_and_those_of_two_are_split() -> None:
    with pytest.raises(DegenerateError, match="one value everywhere"):
        multi_otsu(np.full(9, 0.5, np.float32))
    assert 0 < multi_otsu(np.array([0.0, 0.0, 1.0], np.float32)) < 1


def test_a_class_without_values_never_wins() -> None:
    assert class_score(np.array([0.0, 1.0]), (0.2, 0.4)) == -np.inf


def test_masks_are_above_the_threshold_of_all_frames() -> None:
    maps = np.zeros((2, 3, 4), np.float32)
    maps[0, 1, 1] = 1
    found = masks_from_map(maps)
    assert found.is_dynamic[0].any() and not found.is_dynamic[1].any()
    assert np.array_equal(found.is_dynamic, found.probability > found.threshold)


def test_a_token_moves_where_any_of_its_pixels_does() -> None:
    masks = np.zeros((1, 32, 48), bool)
    masks[0, 15, 16] = True
    assert np.argwhere(token_masks(masks)).tolist() == [[0, 0, 1]]
    with pytest.raises(InputError, match="48x30 px"):
        token_masks(masks[:, :30])
