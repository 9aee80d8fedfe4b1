"""The preview of a result: what is not known looks unlike all that is, warnings are named, numbers can be read."""

import dataclasses

import numpy as np
import pytest

from recon4d.core.text import plain_number
from recon4d.results import preview
from recon4d.results.overlay import color_depth, depth_range, stripes, turbo
from recon4d.results.preview import draw_preview
from recon4d.results.reconstruction import Reconstruction
from tests.results import FRAMES, SIZE, exact_result
from tests.synthetic import make_scene


@pytest.fixture(scope="module")
def exact() -> Reconstruction:
    return exact_result(make_scene(FRAMES, SIZE, seed=9, mover=True))


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on the preview."""
    written: list[str] = []
    write = preview.write_text

    def noted(image: np.ndarray, text: str, *where: object) -> int:
        written.append(text)
        return write(image, text, *where)  # type: ignore[arg-type]

    monkeypatch.setattr(preview, "write_text", noted)
    return written


def without_depth(result: Reconstruction) -> Reconstruction:
    """As of a camera that only turns: a constant at confidence 0."""
    nothing = np.zeros_like(result.confidence)
    return dataclasses.replace(result, depth=np.ones_like(result.depth), confidence=nothing)


def test_unknown_depth_has_stripes_and_no_colour_of_the_scale() -> None:
    depth = np.linspace(1, 9, 64, dtype=np.float32)[None].repeat(48, axis=0)
    sure = np.full(depth.shape, 255, np.uint8)
    depth[:16], sure[16:32] = 0, 0
    limits = depth_range(depth[None], sure[None])
    assert limits is not None and 1 <= limits[0] < limits[1] <= 9
    shown = color_depth(depth, sure, limits)
    pattern = stripes(*depth.shape)
    np.testing.assert_array_equal(shown[:32], pattern[:32])
    assert (np.ptp(shown[:32].astype(int), axis=2) == 0).all() and len(np.unique(shown[:32])) == 2
    ramp = turbo(np.linspace(0, 1, 256, dtype=np.float32)[None])[0].astype(int)
    assert (np.ptp(ramp, axis=1) > 60).all(), "no colour of the scale is grey"
    assert (np.ptp(shown[32:].astype(int), axis=2) > 60).all()


def test_a_constant_at_confidence_0_tells_no_range(exact: Reconstruction) -> None:
    nothing = without_depth(exact)
    assert depth_range(nothing.depth, nothing.confidence) is None


def test_the_preview_says_where_no_depth_is_known(exact: Reconstruction, texts: list[str]) -> None:
    draw_preview(exact)
    assert "no depth is known" not in texts and "from above" in texts
    assert any(text.startswith("depth ") for text in texts) and "not known" not in texts
    texts.clear()
    draw_preview(without_depth(exact))
    assert texts.count("no depth is known") == 2 * 5 + 1, "in every panel (twice, to measure it)"
    assert "from above, cameras alone" in texts
    assert not any(text.startswith("depth ") for text in texts)
    texts.clear()
    some = exact.confidence.copy()
    some[0] = 0
    draw_preview(dataclasses.replace(exact, confidence=some))
    assert texts.count("no depth is known") == 2 and "not known" in texts


def test_warnings_are_named_by_their_codes(exact: Reconstruction, texts: list[str]) -> None:
    plain = draw_preview(exact)
    assert not any("warnings" in text for text in texts)
    warnings: list[dict[str, object]] = [
        {"code": code, "message": "x", "frames": []} for code in ("odd", "torn", "odd")
    ]
    warned = draw_preview(dataclasses.replace(exact, run={"warnings": warnings}))
    assert "warnings: odd, torn" in texts
    assert warned.shape[0] == plain.shape[0] + preview.WARNINGS_PX
    texts.clear()
    many = [{"code": f"a_rather_long_code_{k}", "message": "x", "frames": []} for k in range(99)]
    sheet = draw_preview(dataclasses.replace(exact, run={"warnings": many}))
    (said,) = {text for text in texts if text.startswith("warnings") and texts.count(text) == 2}
    assert said.endswith(" more") and said.startswith("warnings: a_rather_long_code_0, ")
    assert (sheet[60:80, -12:] == preview.BACKGROUND).all(), "it fits"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1420.3, "1,420"),
        (5.04e6, "5,040,000"),
        (0.37312, "0.373"),
        (4.4, "4.40"),
        (99.96, "100"),
        (0.000123, "0.000123"),
        (-12.34, "-12.3"),
        (0.0, "0"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert plain_number(value) == text
