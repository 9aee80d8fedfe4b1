"""What is left of the flow has a pattern where no model explains it, and the likely cause is named."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recon4d.core.geometry import transfer
from recon4d.core.sampling import sample_px
from recon4d.core.scene import DenseDepth, Scene
from recon4d.core.tensors import depth_at_samples
from recon4d.flow.dis import Dis
from recon4d.run.check import Check, check_flow
from recon4d.run.doubts import FEWEST_PAIRS, Finished, doubts
from recon4d.run.lens_source import explains_nothing
from recon4d.run.pattern import NOTHING, Pattern, Residuals, pattern_of
from tests.synthetic import SyntheticScene, make_scene

SIZE = (160, 120)
FRAMES = 16
NOISE_PX = 0.1


def noise(seed: int = 0, size: tuple[int, int] = SIZE) -> Residuals:
    place = sample_px(size[1] // 2, size[0] // 2).reshape(-1, 2).astype(np.float64)
    error = np.random.default_rng(seed).normal(0, NOISE_PX, place.shape)
    return Residuals(place, error)


def with_error(residuals: Residuals, more: np.ndarray) -> Residuals:
    return dataclasses.replace(residuals, error_px=residuals.error_px + more)


def test_noise_has_no_pattern() -> None:
    for seed, size in enumerate([SIZE, SIZE[::-1], (320, 128)]):
        found = pattern_of(noise(seed, size), size)
        assert found.rows < 0.02 and found.columns < 0.02
        assert 0.9 < found.border < 1.1 and 0.5 < found.common < 2


def test_errors_of_whole_rows_are_between_rows_and_not_between_columns() -> None:
    made = noise()
    row = made.place_px[:, 1:] / SIZE[1]
    found = pattern_of(with_error(made, 0.4 * np.sin(5 * row) * [1.0, 0.3]), SIZE)
    assert found.rows > 0.5 and found.columns < 0.02
    turned = Residuals(found_place := made.place_px[:, ::-1], made.error_px)
    swapped = pattern_of(
        with_error(turned, 0.4 * np.sin(5 * found_place[:, :1] / SIZE[1])), SIZE[::-1]
    )
    assert swapped.columns > 0.5 and swapped.rows < 0.02


def test_errors_that_grow_towards_the_border_are_more_there_and_have_it_in_common() -> None:
    made = noise()
    away = (made.place_px - np.array(SIZE) / 2) / 100
    bent = (away**2).sum(1, keepdims=True) * away
    found = pattern_of(with_error(made, bent), SIZE)
    assert found.border > 2 and found.common > 4
    louder = dataclasses.replace(
        made, error_px=made.error_px * (1 + 3 * np.abs(away).max(1))[:, None]
    )
    found = pattern_of(louder, SIZE)
    assert found.border > 1.5 and found.common < 1.9, "noise alone has less in common"


def test_few_pixels_and_wild_ones_tell_nothing_or_hardly_anything() -> None:
    every, few = noise(), 400
    assert np.isnan(dataclasses.astuple(pattern_of(NOTHING, SIZE))).all()
    less = Residuals(every.place_px[:few], every.error_px[:few])
    assert np.isnan(dataclasses.astuple(pattern_of(less, SIZE))).all()
    exact = Residuals(every.place_px, np.zeros_like(every.error_px))
    assert np.isnan(dataclasses.astuple(pattern_of(exact, SIZE))).all()
    wild = every.error_px.copy()
    wild[::50], wild[1::50] = np.inf, 1e4
    found = pattern_of(Residuals(every.place_px, wild), SIZE)
    assert found.rows < 0.05 and 0.8 < found.border < 1.2
    narrow = np.abs(every.place_px - np.array(SIZE) / 2).max(1) < 32
    found = pattern_of(Residuals(every.place_px[narrow], every.error_px[narrow]), SIZE)
    assert np.isnan(found.border) and not np.isnan(found.rows)


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3)


class Measured(Dis):
    """Flow that a camera with a lens, or whose shutter rolls, would show, with noise."""

    def __init__(self, made: SyntheticScene, k1: float = 0.0, rows_px: float = 0.0) -> None:
        super().__init__()
        self.made, self.k1, self.rows_px = made, k1, rows_px

    def pairs(
        self, images: np.ndarray, pairs: np.ndarray, threads: int
    ) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        rng = np.random.default_rng(1)
        scene = self.made.scene
        for at, (source, target) in enumerate(pairs):
            depth = depth_at_samples(torch.from_numpy(self.made.depth[source])).double()
            shape = (*depth.shape, 2)
            uv = torch.from_numpy(sample_px(*depth.shape).reshape(-1, 2).astype(np.float64))
            relative = np.linalg.inv(scene.world_from_cam[target]) @ scene.world_from_cam[source]
            k = torch.from_numpy(scene.intrinsics)
            inverse = 1 / depth.flatten()
            there, _ = transfer(uv, inverse, torch.from_numpy(relative), k[source], k[target])
            uv, there = uv.reshape(shape), there.reshape(shape)
            flow = (self.seen(there.numpy()) - self.seen(uv.numpy())) + rng.normal(
                0, NOISE_PX, uv.shape
            )
            row = uv[..., 1:].numpy() / SIZE[1]
            flow = flow + self.rows_px * np.sin(6 * row + source) * [1.0, 0.0]
            sure = np.full(depth.shape, 255, np.uint8)
            yield at, (flow[None].astype(np.float16), sure[None])

    def seen(self, uv: np.ndarray) -> np.ndarray:
        away = (uv - np.array(SIZE) / 2) / self.made.scene.intrinsics[0, 0]
        return np.asarray(
            uv
            + self.k1 * (away**2).sum(-1, keepdims=True) * away * self.made.scene.intrinsics[0, 0]
        )


def check_of(made: SyntheticScene, method: Measured) -> Check:
    flow = dataclasses.replace(
        made.flow,
        edges=made.flow.edges[:0],
        flow_px=made.flow.flow_px[:0],
        confidence=made.flow.confidence[:0],
    )
    dense = DenseDepth(made.depth, np.full(made.depth.shape, 255, np.uint8))
    nothing = np.zeros(made.depth.shape, bool)
    return check_flow(made.video, flow, made.scene, dense, nothing, method, 1)


def codes(
    made: SyntheticScene,
    check: Check,
    scene: Scene | None = None,
    *,
    explains_nothing: bool = False,
) -> dict[str, str]:
    result = Finished(
        scene or made.scene,
        check.figures,
        SIZE,
        "estimated",
        check.residual_px,
        explains_nothing=explains_nothing,
    )
    return {notice.code: notice.message for notice in doubts(result, ())}


def test_a_lens_and_a_shutter_that_nobody_undid_are_named(made: SyntheticScene) -> None:
    assert not codes(made, check_of(made, Measured(made)))
    lens = codes(made, check_of(made, Measured(made, k1=-0.2)))
    assert set(lens) == {"residual_at_border"}
    none = {"model": "pinhole", "source": "estimated"}
    sought = [explains_nothing(none | {"gain": gain}) for gain in (0.0012, 0.02)]
    assert sought == [True, False] and not explains_nothing({"model": "pinhole", "source": "given"})
    found = check_of(made, Measured(made, k1=-0.2))
    assert not codes(made, found, explains_nothing=True), "a lens was looked for, and is none"
    assert "--lens auto" in lens["residual_at_border"] and "all frames" not in str(lens)
    shutter = codes(made, check_of(made, Measured(made, rows_px=0.5)))
    assert set(shutter) == {"residual_in_rows"}
    assert (
        "--readout auto" in shutter["residual_in_rows"] and " %" not in shutter["residual_in_rows"]
    )


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (Pattern(0.44, 0.09, 1.4, 1.5), {"residual_in_rows"}),  # a shutter of 40 ms
        (Pattern(0.11, 0.16, 1.7, 2.2), {"residual_at_border"}),  # k1 = -.2
        (Pattern(0.26, 0.15, 1.1, 1.5), set()),  # a kitchen whose shutter was taken off
        (Pattern(0.44, 0.30, 1.7, 1.5), set()),  # columns, too; louder, but nothing in common
    ],
)
def test_patterns_of_clips_are_judged(
    pattern: Pattern, wanted: set[str], made: SyntheticScene
) -> None:
    check = check_of(made, Measured(made))
    values = np.full((FRAMES, 4), np.nan, np.float32)
    values[: FEWEST_PAIRS - 1] = dataclasses.astuple(pattern)
    too_few = dataclasses.replace(check.figures, pattern=values)
    assert not codes(made, dataclasses.replace(check, figures=too_few))
    values[:FEWEST_PAIRS] = dataclasses.astuple(pattern)
    figures = dataclasses.replace(check.figures, pattern=values)
    assert set(codes(made, dataclasses.replace(check, figures=figures))) == wanted
