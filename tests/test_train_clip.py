"""Rendered training clips: their truth is that of their pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Float32
from scipy.interpolate import CubicSpline

from recon4d.core.errors import ConfigError
from recon4d.masks.train.worlds import cutouts
from recon4d.masks.train.worlds.clip import RenderedClip, Shot, film, render_clip
from recon4d.masks.train.worlds.material import Material, load_material, procedural
from recon4d.masks.train.worlds.paths import Path as CameraPath
from recon4d.masks.train.worlds.planes import Bend, Patch, View, draw

SIZE = (128, 96)


@pytest.fixture(scope="module")
def material() -> Material:
    return load_material((), cut=False)


def waves(phase: float) -> np.ndarray:
    """A smooth picture: interpolation errs by less than a grey level."""
    v, u = np.mgrid[0 : 2 * np.pi : 256j, 0 : 2 * np.pi : 256j]
    parts = [np.sin(3 * u + phase), np.sin(4 * v + 2 * phase), np.sin(2 * u + 3 * v)]
    return np.asarray(128 + 90 * np.stack(parts, axis=-1), np.uint8)


def shot(readout: float = 0.0, bend: Bend | None = None) -> Shot:
    """A wall, a floor, and a square that flies to the right before them; the camera goes and turns."""
    times = np.arange(-2, 9)
    path = CameraPath(
        CubicSpline(times, np.stack((0.03 * times, 0.01 * times, 0.02 * times), axis=1)),
        CubicSpline(times, np.stack((0 * times, 0.01 * times, 0.004 * times), axis=1)),
    )

    def fly(time: float) -> np.ndarray:
        pose = np.eye(4)
        pose[0, 3] = 0.08 * time
        return pose

    wall = Patch(np.array([-9.0, -9, 4]), np.array([18.0, 0, 0]), np.array([0, 18.0, 0]), waves(0))
    floor = Patch(np.array([-9.0, 1, 4]), np.array([18.0, 0, 0]), np.array([0, 0, -6.0]), waves(1))
    alpha = np.ones((256, 256), np.float32)
    square = Patch(
        np.array([-0.8, -0.6, 2.0]),
        np.array([0.9, 0, 0]),
        np.array([0, 0.9, 0]),
        waves(2),
        alpha,
        fly,
        bend,
        mover=0,
    )
    lens = np.array([110.0, 108.0, 64.0, 48.0])
    return Shot((wall, floor, square), path, lens, SIZE, readout, 0.0)


def photometric_error(clip: RenderedClip, source: int, target: int) -> Float32[np.ndarray, " seen"]:
    """Grey levels between what a frame shows and what the other shows where the exact flow leads, away from edges."""
    flow, seen = clip.flow(source, target)
    rows, cols = seen.shape
    u, v = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    images = clip.images.astype(np.float32)
    there = cv2.remap(images[target], u + flow[..., 0], v + flow[..., 1], cv2.INTER_LINEAR)
    border = clip.surface[source].astype(np.float32)
    inner = cv2.dilate(border, np.ones((5, 5))) == cv2.erode(border, np.ones((5, 5)))
    return np.asarray(np.abs(there - images[source]).max(-1)[seen & inner], np.float32)


@pytest.mark.parametrize("readout", [0.0, 0.8])
@pytest.mark.parametrize("bend", [None, Bend(0.05, 0.7, 0.3, 0.4, 0.5)])
def test_the_flow_leads_to_the_same_colours(readout: float, bend: Bend | None) -> None:
    clip = film(shot(readout, bend), 6, rng=None)
    error = photometric_error(clip, 1, 5)
    assert len(error) > 0.5 * SIZE[0] * SIZE[1]
    # grey levels: rounding, interpolation, and with a rolling shutter the steps between strips
    assert np.percentile(error, 95) < (3 if readout == 0 else 8)


def test_static_flow_is_that_of_depth_and_cameras() -> None:
    clip = film(shot(), 6, rng=None)
    flow, _ = clip.flow(0, 4)
    static = ~clip.is_dynamic[0]
    fx, fy, cx, cy = clip.intrinsics
    v, u = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] + 0.5
    point = np.stack(((u - cx) / fx, (v - cy) / fy, np.ones_like(u), 1 / clip.depth[0]), axis=-1)
    there = point @ (np.linalg.inv(clip.world_from_cam[4]) @ clip.world_from_cam[0]).T
    expected = np.stack(
        (there[..., 0] / there[..., 2] * fx + cx - u, there[..., 1] / there[..., 2] * fy + cy - v),
        axis=-1,
    )
    assert np.abs(flow - expected)[static].max() < 1e-3  # pixels; the depth is float32


def test_the_mover_is_labelled_and_what_it_hides_is_not_seen() -> None:
    clip = film(shot(), 6, rng=None)
    assert 0.05 < clip.is_dynamic.mean() < 0.4
    assert (clip.is_dynamic == (clip.surface == 2)).all()
    _, seen = clip.flow(0, 4)
    flow, _ = clip.flow(0, 4)
    v, u = np.nonzero(~clip.is_dynamic[0])
    at = np.floor(np.stack((u, v), 1) + 0.5 + flow[v, u]).astype(int)
    inside = (at >= 0).all(1) & (at < SIZE).all(1)
    lands_on_mover = clip.is_dynamic[4][at[inside, 1], at[inside, 0]]
    assert lands_on_mover.any() and not seen[v[inside], u[inside]][lands_on_mover].any()


def test_a_mover_that_stands_still_is_static() -> None:
    moving = shot()
    patches = tuple(
        Patch(p.origin, p.across, p.down, p.picture, p.alpha, None, None, p.mover)
        for p in moving.patches
    )
    still = Shot(patches, moving.path, moving.intrinsics, SIZE, 0.0, 0.0)
    assert not film(still, 4, rng=None).is_dynamic.any()


def test_patches_behind_the_camera_are_not_drawn() -> None:
    behind = Patch(np.array([-1.0, -1, -3]), np.array([2.0, 0, 0]), np.array([0, 2.0, 0]), waves(0))
    view = View(np.eye(4), np.array([100.0, 100, 64, 48]), 0.0)
    assert (draw([behind], view, SIZE).surface == -1).all()


def test_a_seed_decides_everything(material: Material) -> None:
    a, b, c = (render_clip(seed, material, SIZE, 3) for seed in (5, 5, 6))
    assert np.array_equal(a.images, b.images) and np.array_equal(a.is_dynamic, b.is_dynamic)
    assert not np.array_equal(a.images, c.images)


def test_clips_are_of_many_kinds_and_have_no_holes(material: Material) -> None:
    clips = [render_clip(seed, material, SIZE, 2) for seed in range(16)]
    moving = np.array([clip.is_dynamic.mean() for clip in clips])
    assert (moving == 0).sum() >= 2 and (moving > 0.01).sum() >= 4
    for clip in clips:
        assert (clip.surface >= 0).mean() > 0.999
        assert (clip.depth > 0).all() and np.isfinite(clip.depth).all()
        assert clip.images.std() > 3


def test_pictures_are_recoloured_but_keep_their_size() -> None:
    rng = np.random.default_rng(0)
    assert procedural(rng, 64).shape == (64, 64, 3)
    outline = cutouts.random_outline(rng, procedural(rng, 64))
    assert 0.02 < outline.alpha.mean() < 0.95


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no \.jpg or \.png"):
        load_material((tmp_path,), cut=False)
