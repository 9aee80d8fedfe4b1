"""The salient-object network, and what it adds to the masks."""

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8

from recon4d.core.errors import ConfigError
from recon4d.masks import Features
from recon4d.masks.d2mif import _salient
from recon4d.masks.d2mif import salience as adapted
from recon4d.masks.d2mif.config import LIGHT
from recon4d.masks.d2mif.network import D2mif
from recon4d.masks.d2mif.salience import AGAINST, IN_FAVOUR, LEAST_LOG_ODDS, salient_log_odds
from recon4d.masks.d2mif.weights import Calibration, Trained
from recon4d.networks import u2net
from recon4d.networks.u2net import salience

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


def test_an_object_is_favoured_and_the_rest_hardly_argues_against_motion() -> None:
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
    assert found[120, 120] == pytest.approx(LEAST_LOG_ODDS) and found[10, 10] == AGAINST


def test_salience_counts_in_the_masks_but_under_an_overlay() -> None:
    shape = (1, 2, 3)
    values = np.concatenate((np.zeros(5), np.arange(6)))[None]
    features = Features(values.astype(np.float16))
    salient, without = (Trained(D2mif(LIGHT), Calibration(salience=w)) for w in (1.0, 0.0))
    hidden = np.zeros(shape, bool)
    hidden[0, 1, 2] = True
    assert _salient(features, salient, None, shape).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert _salient(features, salient, hidden, shape).ravel().tolist() == [0, 1, 2, 3, 4, 0]
    assert not _salient(features, without, None, shape).any()


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "u2netp.safetensors"
    damaged.write_bytes(u2net.SHIPPED.read_bytes()[:-1])
    monkeypatch.setattr(u2net, "SHIPPED", damaged)
    u2net.shipped_u2net.cache_clear()
    with pytest.raises(ConfigError, match="U2-Net are missing or damaged; install"):
        u2net.shipped_u2net()
