"""Depth of single images: tiny networks of transformers with random weights, fits, and runs to a result folder."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import UInt8

from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.networks.mono import MonoDepth, MonoNetwork, anything_size, focal_of, load_mono
from recon4d.priors.mono import affine_fit
from recon4d.results.folder import read_result
from recon4d.run.pipeline import run
from recon4d.settings.config import RunConfig
from tests import needs
from tests.media import write_images
from tests.paths import centres, relative_ate, similarity
from tests.synthetic import SyntheticScene, make_scene

FRAMES, SIZE = 6, (192, 144)


@cache
def world() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, plain_lens=True)


def dinov2(package: Any, **sizes: Any) -> Any:
    return package.Dinov2Config(
        hidden_size=8, num_attention_heads=2, mlp_ratio=2, num_hidden_layers=4, **sizes
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_models(tmp_path_factory.mktemp("models"))


def tiny_models(home: Path) -> dict[str, Path]:
    """Whole models, tiny."""
    package = needs.package("transformers", "models")
    anything = package.DepthAnythingConfig(
        backbone_config=dinov2(
            package,
            patch_size=14,
            image_size=518,
            out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False,
        ),
        reassemble_hidden_size=8,
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=4,
        head_hidden_size=4,
    )
    package.DepthAnythingForDepthEstimation(anything).save_pretrained(home / "depth-anything")
    sizes = {"patch_size": 8, "image_size": 32, "use_swiglu_ffn": False}
    pro = package.DepthProConfig(
        fusion_hidden_size=16,
        patch_size=32,
        intermediate_hook_ids=[2, 1],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.25, 0.5, 1],
        scaled_images_overlap_ratios=[0.0, 0.5, 0.25],
        scaled_images_feature_dims=[8, 8, 8],
        use_fov_model=True,
        image_model_config=dinov2(package, **sizes),
        patch_model_config=dinov2(package, **sizes),
        fov_model_config=dinov2(package, **sizes),
    )
    network = package.DepthProForDepthEstimation(pro)
    *_, last = network.fov_model.parameters()
    torch.nn.init.constant_(last, 60.0)  # degrees
    network.save_pretrained(home / "depth-pro")
    return {name: home / name for name in ("depth-anything", "depth-pro")}


def test_as_little_as_possible_is_resized_for_depth_anything() -> None:
    assert anything_size((512, 384), 14) == (518, 392)
    assert anything_size((1920, 1080), 14) == (924, 518)
    assert anything_size((384, 512), 14) == (392, 518)


@pytest.mark.parametrize("name", ["depth-anything", "depth-pro"])
def test_tiny_networks_give_depth_of_the_size_of_the_image(
    folders: dict[str, Path], name: str
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 70, 3), np.uint8)
    found = load_mono(name, folders[name], "cpu")(image)
    assert found.inverse_depth.shape == (48, 70) and np.isfinite(found.inverse_depth).all()
    if name == "depth-pro":
        assert found.focal_px is not None and (found.inverse_depth > 0).all()


def test_a_field_of_view_that_no_lens_has_is_named() -> None:
    assert focal_of(90.0, 100) == pytest.approx(50)
    with pytest.raises(DegenerateError, match="field of view of 0 degrees"):
        focal_of(0.0, 100)


def test_a_folder_of_another_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json is missing"):
        load_mono("depth-pro", tmp_path, "cpu")
    with pytest.raises(ConfigError, match="holds no Depth Anything"):
        load_mono("depth-anything", folders["depth-pro"], "cpu")


def test_scale_and_offset_survive_a_third_of_outliers() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.random(300)
    measured = 0.4 * predicted + 0.1
    measured[::3] += rng.random(100)
    found = affine_fit(predicted, measured)
    assert found is not None
    np.testing.assert_allclose(found, (0.4, 0.1), atol=1e-3)


def test_what_does_not_fit_is_no_fit() -> None:
    rng = np.random.default_rng(0)
    assert affine_fit(rng.random(300), rng.random(300)) is None
    assert affine_fit(np.ones(300), rng.random(300)) is None
    assert affine_fit(rng.random(5), rng.random(5)) is None
    predicted = rng.random(300)
    assert affine_fit(predicted, 1 - predicted) is None  # nearer is not farther


def config(tmp_path: Path, name: str, weights: Path) -> RunConfig:
    images = write_images(tmp_path / "images", world().video.images)
    return RunConfig(
        input=images, out=tmp_path / "out", geometry=name, weights=(str(weights),), masks="residual"
    )


def truth_of(image: UInt8[np.ndarray, "height width 3"]) -> np.ndarray:
    frames = world().video.images
    frame = int(np.argmin([np.abs(f.astype(int) - image).sum() for f in frames]))
    return np.asarray(world().depth[frame])


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("depth-pro", "metric"),
        pytest.param("depth-anything", "relative", marks=pytest.mark.slow),
    ],
)
def test_depth_of_single_images_becomes_a_result(
    tmp_path: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    scale: str,
) -> None:
    """A random network sees no scene: its answer, small, is added to the true one."""
    own = MonoNetwork.__call__

    def seeing(self: MonoNetwork, image: UInt8[np.ndarray, "height width 3"]) -> MonoDepth:
        found, depth = own(self, image), truth_of(image)
        noise = 0.02 * found.inverse_depth / np.abs(found.inverse_depth).max()
        focal = world().scene.intrinsics[0, 0]
        if name == "depth-pro":
            return MonoDepth(((1 + noise) / depth).astype(np.float32), float(focal))
        return MonoDepth((5 * (1 + noise) / depth + 2).astype(np.float32))

    monkeypatch.setattr(MonoNetwork, "__call__", seeing)
    result = read_result(run(config(tmp_path, name, folders[name])))
    truth = world().scene.world_from_cam
    assert result.run["scale"] == scale
    assert relative_ate(result.world_from_cam, truth) < 0.02  # DIS flow on six small frames
    if scale == "metric":
        factor, _ = similarity(centres(result.world_from_cam), centres(truth))
        # 0.95 with flow of DIS, whose error of 0.1 px is a twentieth of the parallax of these small frames
        assert factor == pytest.approx(1, abs=0.1)


def test_depth_that_fits_nowhere_is_named(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(DegenerateError, match="fits to the geometry of no frame"):
        run(config(tmp_path, "depth-anything", folders["depth-anything"]))
