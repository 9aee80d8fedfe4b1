"""The salient-object network, and what it adds to the masks."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8

from recon4d.core.errors import ConfigError
from recon4d.core.scene import Flow, MotionMasks, Overlay, Video
from recon4d.masks import Seen
from recon4d.masks.d2mif import salience as adapted
from recon4d.masks.d2mif.salience import (
    AGAINST,
    IN_FAVOUR,
    LEAST_IN_FAVOUR,
    LEAST_OF_MOST,
    in_favour,
    joined,
    salient_log_odds,
    whole_objects,
)
from recon4d.networks import u2net
from recon4d.networks.u2net import salience
from tests.synthetic import make_scene

ELLIPSE = (120, 170), (60, 45)
"""Row and column of the centre, half axes."""


def _drawn() -> UInt8[np.ndarray, "240 320 3"]:
    """A red ellipse before smooth waves."""
    rows, cols = np.mgrid[0:240, 0:320]
    waves = (
        120 + 60 * np.sin(cols / 23) + 20 * np.cos(rows / 7),
        110 + 50 * np.cos(rows / 31) + 0 * cols,
        100 + 40 * np.sin((rows + cols) / 17),
    )
    picture = np.stack(waves, -1)
    picture[_inside()] = (230, 60, 40)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _inside() -> np.ndarray:
    rows, cols = np.mgrid[0:240, 0:320]
    (row, col), (high, wide) = ELLIPSE
    return np.asarray(((rows - row) / high) ** 2 + ((cols - col) / wide) ** 2 < 1)


def test_the_network_says_what_the_published_one_says() -> None:
    """Golden values of u2netp.onnx on the same picture; half precision moves what is undecided by a few percent."""
    found = 1 / (1 + np.exp(-salience(_drawn())))
    golden = {(160, 170): 1.0, (100, 170): 1.0, (160, 230): 0.0, (30, 40): 0.0}
    for at, value in golden.items():
        assert found[at] == pytest.approx(value, abs=1e-3)
    assert found[240, 180] == pytest.approx(0.0262, abs=0.01)
    assert found[159, 126] == pytest.approx(0.9742, abs=0.01)


def test_an_object_is_favoured_and_the_rest_is_not() -> None:
    found = salient_log_odds(_drawn(), 120, 160)
    inside = _inside()[::2, ::2]
    assert found[inside].mean() > 0.9 * IN_FAVOUR
    assert np.median(found[~inside]) == AGAINST and found.min() == AGAINST


def test_what_is_most_salient_counts_where_the_network_is_not_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unsure(image: np.ndarray) -> np.ndarray:
        odds = np.full((320, 320), -8.0, np.float32)
        odds[100:140, 100:140] = -2.0
        return odds

    monkeypatch.setattr(adapted, "salience", unsure)
    found = salient_log_odds(np.zeros((64, 64, 3), np.uint8), 320, 320)
    assert found[120, 120] == pytest.approx(LEAST_OF_MOST) and found[10, 10] == AGAINST


def _scene() -> tuple[np.ndarray, np.ndarray]:
    """An object whose left third surely moves while the rest is unsure, before ground that surely rests."""
    moves = np.full((60, 80), 0.02, np.float32)
    moves[20:40, 20:30], moves[20:40, 30:50] = 0.98, 0.2
    salient = np.full((60, 80), AGAINST, np.float32)
    salient[20:40, 20:50] = IN_FAVOUR
    return moves, salient


def _joined(moves: np.ndarray, salient: np.ndarray) -> np.ndarray:
    return joined(moves, salient, np.zeros_like(moves))


def test_a_part_that_moves_brings_the_whole_object() -> None:
    moves, salient = _scene()
    found = _joined(moves, salient) > 0.5
    assert found[20:40, 20:50].all() and found.sum() == 20 * 30


def test_neither_sure_rest_nor_sure_motion_is_outweighed() -> None:
    moves, salient = _scene()
    moves[20:40, 30:50] = 0.002  # a statue behind somebody who walks
    moves[0:10, 0:20] = 0.999  # somebody whom nobody looks at
    found = _joined(moves, salient) > 0.5
    assert not found[20:40, 30:50].any() and found[0:10, 0:20].all()


def test_in_a_crowd_that_is_not_salient_salience_says_less_against() -> None:
    moves, salient = _scene()
    moves[0:15, :] = 0.9
    alone = _joined(moves[:1, :40], salient[:1, :40])[0, 0]
    crowd = _joined(moves, salient)[0, 0]
    assert crowd > alone
    assert crowd == pytest.approx(0.78, abs=0.05)  # 1,200 of 1,400 sure samples are not salient


def test_where_motion_leaves_nothing_open_salience_counts_half() -> None:
    moves, salient = (np.stack([x] * 2) for x in _scene())
    moves[:] = 0.01
    assert in_favour(moves, salient) == 1  # nothing moves, as far as motion tells
    moves[:, 20:40, 20:40] = 0.99
    assert in_favour(moves, salient) == LEAST_IN_FAVOUR  # two thirds of the object move, one rests
    statue = 0.04
    moves[:, 20:40, 40:50] = statue
    beside = (slice(None), slice(20, 40), slice(40, 50))
    nothing = np.zeros_like(moves[0])
    assert (joined(moves[0], salient[0], nothing) > 0.5)[beside[1:]].all()
    half = in_favour(moves, salient)
    assert not (joined(moves[0], salient[0], nothing, half) > 0.5)[beside[1:]].any()
    moves[beside] = 0.4
    assert in_favour(moves, salient) == 1  # motion does not know: a third is open


def test_what_an_overlay_hides_keeps_its_masks() -> None:
    images = np.stack([_drawn()] * 2)
    area = np.zeros((240, 320), bool)
    area[:, 160:] = True
    overlay = Overlay(area[None], np.array([[0, 1]]), 2)
    video = Video(images, np.arange(2.0), ("0", "1"), (320, 240), overlay=overlay)
    motion = MotionMasks(np.full((2, 120, 160), 0.3, np.float32))
    nothing = np.zeros((0, 120, 160), np.uint8)
    flow = Flow(np.zeros((0, 2), np.int64), np.zeros((0, 120, 160, 2), np.float16), nothing)
    scene = make_scene(2, (320, 240), seed=0).scene
    scene.inverse_depth_std[:] = np.inf  # nothing is known of a ground
    found = whole_objects(Seen(video, flow), scene, motion).probability
    inside = _inside()[::2, ::2]
    assert (found[:, inside][:, :50] > 0.5).any() and (found[:, :, 82:] == np.float32(0.3)).all()


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "u2netp.safetensors"
    damaged.write_bytes(u2net.SHIPPED.read_bytes()[:-1])
    monkeypatch.setattr(u2net, "SHIPPED", damaged)
    u2net.shipped_u2net.cache_clear()
    with pytest.raises(ConfigError, match="U2-Net are missing or damaged; install"):
        u2net.shipped_u2net()
