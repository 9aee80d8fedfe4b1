"""The method around the network: features once, masks per scene, files of weights."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d import masks
from recon4d.core.errors import ConfigError
from recon4d.core.geometry import invert_rigid
from recon4d.core.scene import Flow, MotionMasks, Scene
from recon4d.masks.d2mif import d2mif_masks, scene_free_features, weights
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.network import D2mif, fold_norms
from recon4d.masks.d2mif.weights import Calibration, Trained, load_weights, save_weights
from recon4d.weights.resolve import Resources
from tests.synthetic import SyntheticScene, make_scene

CALIBRATED = '{"scale": 1, "evidence": 0, "shift": 0}'
TINY = NetworkConfig(width=8, head=8, encoder=(8, 8, 16, 16), blocks=1, appearance="resnet")


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(5, (96, 72), seed=3, mover=True, noise_px=0.1)


@pytest.fixture(scope="module")
def trained() -> Trained:
    torch.manual_seed(0)
    return Trained(fold_norms(D2mif(TINY)), Calibration())


def find(made: SyntheticScene, trained: Trained, folder: Path, threads: int = 1) -> MotionMasks:
    features = scene_free_features(made.video, made.flow, trained, folder, threads)
    return d2mif_masks(made.video, made.flow, made.scene, features, trained, threads)


def test_masks_do_not_depend_on_the_number_of_threads(
    made: SyntheticScene, trained: Trained, tmp_path: Path
) -> None:
    one = find(made, trained, tmp_path).probability
    assert one.shape == (5, 36, 48) and ((one >= 0) & (one <= 1)).all()
    assert np.array_equal(one, find(made, trained, tmp_path, threads=2).probability)


def test_the_same_features_serve_every_scene_and_the_scene_counts(
    made: SyntheticScene, trained: Trained, tmp_path: Path
) -> None:
    features = scene_free_features(made.video, made.flow, trained, tmp_path)
    poses = torch.from_numpy(made.scene.world_from_cam)
    other: Scene = replace(made.scene, world_from_cam=invert_rigid(poses).numpy())
    a, b = (
        d2mif_masks(made.video, made.flow, scene, features, trained).probability
        for scene in (made.scene, other)
    )
    assert not np.array_equal(a, b)


def test_without_the_geometry_branch_the_scene_does_not_count(
    made: SyntheticScene, tmp_path: Path
) -> None:
    config = replace(TINY, branches=("appearance", "motion"))
    flat = Trained(fold_norms(D2mif(config)), Calibration())
    still = replace(made.scene, world_from_cam=np.tile(np.eye(4), (5, 1, 1)))
    features = scene_free_features(made.video, made.flow, flat, tmp_path)
    a, b = (
        d2mif_masks(made.video, made.flow, scene, features, flat).probability
        for scene in (made.scene, still)
    )
    assert np.array_equal(a, b)


def test_a_frame_that_is_compared_with_no_other_is_static(
    made: SyntheticScene, trained: Trained, tmp_path: Path
) -> None:
    keep = (made.flow.edges != 4).all(1)
    flow = Flow(made.flow.edges[keep], made.flow.flow_px[keep], made.flow.confidence[keep])
    features = scene_free_features(made.video, flow, trained, tmp_path)
    found = d2mif_masks(made.video, flow, made.scene, features, trained).probability
    assert (found[4] < 0.1).all()


def test_large_images_are_seen_at_the_size_of_the_training(tmp_path: Path) -> None:
    large = make_scene(2, (1040, 24), seed=0)
    torch.manual_seed(0)
    tiny = Trained(fold_norms(D2mif(TINY)), Calibration())
    assert find(large, tiny, tmp_path).probability.shape == (2, 12, 520)
    half, quarter = 6 * 256, 3 * 128  # 12 x 512 pixels
    values = np.load(tmp_path / "evidence.npy", mmap_mode="r").shape[1]
    assert TINY.head * half + TINY.width * quarter < values < 1.5 * TINY.head * half


def test_the_method_of_the_command_line_gives_the_same(
    made: SyntheticScene, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = D2mif(TINY)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, Calibration(1.5, 0.25, -0.25))
    method = masks.method("d2mif", Resources({"d2mif": path}))
    seen = masks.Seen(made.video, made.flow, None)
    assert method.features is not None and method.depends_on_scene
    seen = replace(seen, features=method.features(seen, tmp_path))
    (tmp_path / "b").mkdir()
    expected = find(made, load_weights(path), tmp_path / "b").probability
    assert np.array_equal(method.masks(seen, made.scene).probability, expected)


def test_weights_come_back_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = D2mif(TINY)
    path = tmp_path / "w.safetensors"
    save_weights(path, network, Calibration(1.5, 0.25, -0.25))
    back = load_weights(path)
    assert back.calibration == Calibration(1.5, 0.25, -0.25) and back.network.config == TINY
    before = fold_norms(network).state_dict()
    for name, value in back.network.state_dict().items():
        # half has 11 bits; folding multiplies by about 1
        assert torch.allclose(value, before[name], rtol=2e-3, atol=2e-3)


def test_files_that_are_no_weights_are_refused_in_one_sentence(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ConfigError, match="are not there"):
        load_weights(tmp_path / "missing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a safetensors file")
    with pytest.raises(ConfigError, match="no complete safetensors file"):
        load_weights(broken)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(ConfigError, match="holds no D2MIF network"):
        load_weights(other)
    save_file({"a": torch.zeros(1)}, other, {"d2mif": TINY.to_json(), "calibration": CALIBRATED})
    with pytest.raises(ConfigError, match="do not fit D2MIF as its own metadata"):
        load_weights(other)


def test_calibration_adds_the_log_odds_of_network_and_evidence() -> None:
    odds = np.array([-1.0, 0.0, 2.0], np.float32)
    evidence = np.array([0.0, 4.0, -2.0], np.float32)
    assert Calibration(2.0, 0.5, 1.0)(odds, evidence).tolist() == [-1.0, 3.0, 4.0]


def test_the_shipped_weights_are_whole_small_and_described() -> None:
    shipped = weights.SHIPPED
    digest = hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert digest == weights.SHIPPED_SHA256
    assert digest in shipped.with_suffix(".md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in shipped.parent.iterdir()) < 25e6
    assert load_weights().network.config.branches == ("geometry", "appearance", "motion")


def test_damaged_shipped_weights_are_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = bytearray(weights.SHIPPED.read_bytes())
    data[-1] ^= 1
    damaged = tmp_path / "d2mif.safetensors"
    damaged.write_bytes(data)
    monkeypatch.setattr(weights, "SHIPPED", damaged)
    with pytest.raises(ConfigError, match="are damaged; install recon4d again"):
        load_weights()


def test_the_shipped_network_finds_nothing_where_nothing_moves(tmp_path: Path) -> None:
    made = make_scene(10, (256, 192), seed=3, noise_px=0.2)
    assert (find(made, load_weights(), tmp_path).probability > 0.5).mean() < 0.01
