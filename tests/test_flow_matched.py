"""Flow from sparse matches, on drawn pictures of a plane: large motions, blur, exposure, and what has no matches."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import pytest

from recon4d.core.parallel import one_opencv_thread
from recon4d.core.sampling import sample_px
from recon4d.flow import window_pairs
from recon4d.flow.dis import Dis, both_ways
from recon4d.flow.matched import HOPELESS, flow_of_pairs, from_matches, share
from recon4d.flow.matches import flow_by, homography
from recon4d.flow.views import FrameView, FrameViews

SIZE = 320, 240
"""Width and height, pixels."""
FAST = np.array([[1.0, -0.14, 118.0], [0.14, 1.0, -24.0], [0.0, 0.0001, 1.0]])
"""What a pan with some roll does between two frames: pixels (u, v) of the first to the second."""


@lru_cache(maxsize=3)
def texture(seed: int) -> np.ndarray:
    """Of a plane three times as wide and high as the pictures: mean 0, standard deviation about 1.7."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    large = np.zeros((3 * height, 3 * width), np.float32)
    for sigma in (1.5, 4, 12):
        noise = cv2.GaussianBlur(rng.normal(size=large.shape), (0, 0), sigma)
        large += (noise / noise.std()).astype(np.float32)
    return large


def plane(warp: np.ndarray, seed: int = 3) -> np.ndarray:
    """A textured plane that a homography, from the first frame's pixels, has brought where it is seen."""
    width, height = SIZE
    shift = np.array([[1, 0, -width], [0, 1, -height], [0, 0, 1.0]])
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])  # a pixel's centre is at (.5, .5)
    seen = cv2.warpPerspective(texture(seed), half @ warp @ np.linalg.inv(half) @ shift, SIZE)
    return np.clip(128 + 35 * seen, 0, 255).astype(np.uint8)


def views(*grays: np.ndarray) -> tuple[FrameView, ...]:
    images = np.stack([np.repeat(gray[..., None], 3, axis=2) for gray in grays])
    every = FrameViews(images)
    return tuple(every(frame) for frame in range(len(grays)))


def error_px(flow: np.ndarray, warp: np.ndarray) -> tuple[float, float]:
    """Median distance from the true flow where the target shows the point, and the part that is off by a pixel."""
    true = flow_by(warp, *flow.shape[:2])
    there = true + sample_px(*flow.shape[:2])
    inside = ((there > 8) & (there < np.array(SIZE) - 8)).all(-1)
    off = np.linalg.norm(flow.astype(np.float32) - true, axis=-1)[inside]
    return float(np.median(off)), float((off > 1).mean())


def blurred(gray: np.ndarray) -> np.ndarray:
    """As a shutter that stays open for 9 pixels of the motion sees it."""
    return np.asarray(cv2.blur(gray, (9, 1)))


def darker(gray: np.ndarray) -> np.ndarray:
    return (0.55 * gray + 9).astype(np.uint8)


@pytest.mark.parametrize("change", [lambda gray: gray, blurred, darker])
def test_matches_find_what_dense_flow_loses(change: Callable[[np.ndarray], np.ndarray]) -> None:
    a, b = views(plane(np.eye(3)), change(plane(FAST)))
    plain = both_ways(a, b)
    assert share(plain, a, b) < 0.2
    found = from_matches(Dis(), a, b, plain)
    assert share(found, a, b) > 0.4  # about half of the plane stays in the picture
    for flow, warp in zip(found[0], (FAST, np.linalg.inv(FAST)), strict=True):
        median, wrong = error_px(flow, warp)
        assert median < 0.35 and wrong < 0.15


def test_what_the_camera_follows_keeps_the_flow_that_plain_dis_has() -> None:
    """A mover in the middle that stays where it is, before a plane that moves fast."""
    mover = plane(np.eye(3), seed=9)[80:180, 110:220]
    pictures = [plane(np.eye(3)), plane(FAST)]
    for picture in pictures:
        picture[80:180, 110:220] = mover
    a, b = views(*pictures)
    flow, sure = from_matches(Dis(), a, b, both_ways(a, b))
    inside = np.s_[46:84, 61:104]
    assert np.median(np.linalg.norm(flow[0][inside].astype(np.float32), axis=-1)) < 0.2
    assert (sure[0][inside] > 127).mean() > 0.8
    outside = np.ones(flow.shape[1:3], bool)
    outside[40:90, 55:110] = False
    assert (sure[0] > 127)[outside].mean() > 0.25


def fast_video(count: int) -> np.ndarray:
    """A plane that a fast camera pans over; the last three frames are still."""
    step = np.array([[1.0, 0.01, 40.0], [-0.01, 1.0, 3.0], [0, 0, 1.0]])
    warps = [np.linalg.matrix_power(step, k) for k in range(-(count // 2), count - count // 2 - 3)]
    grays = np.stack([plane(warp) for warp in [*warps, *[warps[-1]] * 3]])
    return np.repeat(grays[..., None], 3, axis=3)


def test_a_fast_video_has_consistent_flow_whatever_the_threads() -> None:
    images, pairs = fast_video(9), window_pairs(9, (1, 2, 3))
    seen = FrameViews(images)
    with one_opencv_thread():
        plain = {at: both_ways(seen(a), seen(b)) for at, (a, b) in enumerate(pairs.tolist())}
    one, three = (dict(Dis().pairs(images, pairs, threads)) for threads in (1, 3))
    for at, (a, b) in enumerate(pairs.tolist()):
        both = seen(a), seen(b)
        assert share(one[at], *both) >= share(plain[at], *both)
        assert share(one[at], *both) > 0.3
        assert all(np.array_equal(x, y) for x, y in zip(one[at], three[at], strict=True))
    assert (
        min(
            share(flow, seen(int(a)), seen(int(b)))
            for flow, (a, b) in zip(plain.values(), pairs, strict=True)
        )
        < HOPELESS
    )
    assert sorted(one) == list(range(len(pairs)))


def slow_video(count: int, seed: int = 3) -> np.ndarray:
    step = np.array([[1.0, 0.0, 1.5], [0, 1.0, 0.5], [0, 0, 1.0]])
    grays = np.stack([plane(np.linalg.matrix_power(step, k), seed) for k in range(count)])
    return np.repeat(grays[..., None], 3, axis=3)


def other_video(kind: str) -> np.ndarray:
    """Nine frames whose flow is not to be measured again."""
    if kind == "still":
        return np.repeat(slow_video(1), 9, axis=0)
    if kind == "blank":
        return np.full((9, *SIZE[::-1], 3), 40, np.uint8)
    if kind == "cut":
        return np.concatenate((slow_video(5), slow_video(4, seed=8)))
    return slow_video(9)


@pytest.mark.parametrize("kind", ["slow", "still", "blank", "cut"])
def test_other_videos_have_the_flow_of_plain_dis(kind: str) -> None:
    images = other_video(kind)
    pairs = window_pairs(9)
    seen = FrameViews(images)
    with one_opencv_thread():
        for at, found in flow_of_pairs(Dis(), both_ways, images, pairs, 1):
            plain = both_ways(*(seen(int(frame)) for frame in pairs[at]))
            assert all(np.array_equal(x, y) for x, y in zip(found, plain, strict=True))


def test_pictures_of_different_places_have_no_homography() -> None:
    a, b, c = views(plane(np.eye(3)), plane(np.eye(3), seed=8), np.full(SIZE[::-1], 90, np.uint8))
    assert homography(a.features, b.features) is None
    assert homography(a.features, c.features) is None
    assert homography(c.features, a.features) is None
