"""`recon4d run` with each geometry network, from a checkpoint of small random weights to a result folder.

A random network sees no scene, so the pointmaps of the true one are added to what it says.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.networks.croco.align3r import input_points
from recon4d.networks.croco.align3r_points import points_of
from recon4d.networks.croco.network import Croco, View
from recon4d.networks.croco.pairs import PairPrediction, predict_pairs
from recon4d.networks.mono import load_mono
from recon4d.networks.pi3.network import Decoded as Pi3Decoded
from recon4d.networks.pi3.network import Pi3
from recon4d.networks.pi3.network import Predicted as Pi3Predicted
from recon4d.networks.raft import SMALL, Raft
from recon4d.priors import pairs
from recon4d.results.folder import read_result
from recon4d.run.pipeline import run
from recon4d.settings.config import RunConfig
from recon4d.weights import resolve
from recon4d.weights.resolve import Mono
from tests.media import write_images
from tests.paths import relative_ate
from tests.pi3_world import tiny as tiny_pi3
from tests.pi3_world import true_views
from tests.synthetic import SyntheticScene, make_scene
from tests.test_croco import TINY_ARGUMENTS, save_hub, tiny
from tests.test_mono import tiny_models

FRAMES, SIZE = 6, (192, 144)
PREDICT = Pi3.predict


@cache
def world() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=3, plain_lens=True)


def points(frame: int, seen_from: int) -> Float[Tensor, "height width 3"]:
    """Every pixel of a frame in the camera of another."""
    scene = world().scene
    fx, fy, cx, cy = scene.intrinsics[frame]
    v, u = np.indices((SIZE[1], SIZE[0])).astype(np.float64)
    rays = np.stack(((u - cx) / fx, (v - cy) / fy, np.ones_like(u)), axis=-1)
    local = rays * world().depth[frame][..., None]
    there = np.linalg.inv(scene.world_from_cam[seen_from]) @ scene.world_from_cam[frame]
    return torch.from_numpy(local @ there[:3, :3].T + there[:3, 3]).float()


def seeing(*args: Any, **options: Any) -> Iterator[PairPrediction]:
    """The random network's answers, small, on top of the truth."""
    for found in predict_pairs(*args, **options):
        n, m = found.edge
        yield replace(
            found,
            points1=points(n, n) + 1e-3 * found.points1 / found.points1.abs().max(),
            points2=points(m, n) + 1e-3 * found.points2 / found.points2.abs().max(),
            confidence1=found.confidence1 + 3,
            confidence2=found.confidence2 + 3,
        )


def seeing_pi3(self: Pi3, decoded: Pi3Decoded) -> Pi3Predicted:
    """The same of pi3, in a world and a scale of its own."""
    found = PREDICT(self, decoded)
    height, width = found.confidence.shape[2:]
    truth = true_views(world(), (width, height), scale=2.5)
    return replace(
        truth,
        local_points=truth.local_points
        + 1e-3 * found.local_points / found.local_points.abs().max(),
        confidence=found.confidence + 3,
    )


def config(
    tmp_path: Path,
    geometry: str,
    weights: Path,
    masks: str = "residual",
    more: tuple[str, ...] = (),
) -> RunConfig:
    return RunConfig(
        input=write_images(tmp_path / "images", world().video.images),
        out=tmp_path / "out",
        geometry=geometry,
        weights=(str(weights), *more),
        masks=masks,
    )


def hub(tmp_path: Path, point_cloud: bool = False) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    return save_hub(tiny(point_cloud), folder, TINY_ARGUMENTS)


@pytest.mark.parametrize("geometry", ["dust3r", "monst3r"])
def test_pointmaps_of_pairs_become_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, geometry: str
) -> None:
    monkeypatch.setattr(pairs, "predict_pairs", seeing)
    weights, encoded = hub(tmp_path), []
    encode = Croco.encode

    def counting(self: Croco, images: Tensor, *others: Any, **more: Any) -> View:
        encoded.append(len(images))
        return encode(self, images, *others, **more)

    monkeypatch.setattr(Croco, "encode", counting)
    result = read_result(run(config(tmp_path, geometry, weights)))
    assert sum(encoded) == FRAMES  # each once, whatever number of pairs it is in
    # flow of DIS on six frames of 192 pixels
    assert relative_ate(result.world_from_cam, world().scene.world_from_cam) < 0.02
    assert result.run["geometry"] == geometry and result.run["scale"] == "relative"


def pi3_weights(tmp_path: Path) -> Path:
    save_file(tiny_pi3().state_dict(), tmp_path / "pi3.safetensors")
    return tmp_path / "pi3.safetensors"


def test_points_of_all_frames_at_once_become_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pi3, "predict", seeing_pi3)
    result = read_result(run(config(tmp_path, "pi3", pi3_weights(tmp_path))))
    assert relative_ate(result.world_from_cam, world().scene.world_from_cam) < 0.02
    assert result.intrinsics[0, 0] == pytest.approx(world().scene.intrinsics[0, 0], rel=0.03)
    assert result.run["geometry"] == "pi3" and result.run["scale"] == "relative"
    assert "does_not_fit" not in str(result.run["warnings"])


def test_points_of_pi3_that_are_no_scene_are_named(tmp_path: Path) -> None:
    weights = pi3_weights(tmp_path)
    with pytest.raises(
        DegenerateError,
        match=r"pi3\.safetensors do not make a scene: no frame's points are those of a lens",
    ):
        run(config(tmp_path, "pi3", weights))
    assert not (tmp_path / "out").exists()


def test_masks_by_attention_take_the_same_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "predict_pairs", seeing)
    asked = replace(config(tmp_path, "dust3r", hub(tmp_path), masks="easi3r"), refine="none")
    result = read_result(run(asked))
    # attention of random weights finds specks, which refinement would drop
    assert 0 < result.is_dynamic.mean() < 0.9
    assert result.run["masks"] == "easi3r"
    assert relative_ate(result.world_from_cam, world().scene.world_from_cam) < 0.05


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("depth-pro", "Depth Pro"),
        pytest.param("depth-anything", "Depth Anything V2", marks=pytest.mark.slow),
    ],
)
def test_align3r_reads_the_depth_of_single_images_and_says_whose(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mono: dict[str, Path],
    name: str,
    whose: str,
) -> None:
    monkeypatch.setattr(pairs, "predict_pairs", seeing)
    more = (f"{name}={mono[name]}",)
    asked = config(tmp_path, "align3r", hub(tmp_path, point_cloud=True), "easi3r", more)
    result = read_result(run(replace(asked, refine="none")))
    assert relative_ate(result.world_from_cam, world().scene.world_from_cam) < 0.05
    assert result.run["geometry"] == "align3r" and result.run["masks"] == "easi3r"
    assert f"Align3R got the depth of {whose}" in str(result.run["warnings"])


def test_align3r_without_depth_or_with_that_of_two_networks_is_refused(
    tmp_path: Path, mono: dict[str, Path]
) -> None:
    weights = hub(tmp_path, point_cloud=True)
    with pytest.raises(ConfigError, match="recon4d models fetch depth-pro"):
        run(config(tmp_path, "align3r", weights))
    both = tuple(f"{name}={folder}" for name, folder in mono.items())
    with pytest.raises(ConfigError, match="reads the depth of one"):
        run(config(tmp_path, "align3r", weights, more=both))
    with pytest.raises(ConfigError, match="nowhere of depth-pro are not there"):
        run(config(tmp_path, "align3r", weights, more=("depth-pro=nowhere",)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("geometry", "point_cloud"), [("dust3r", True), ("align3r", False)])
def test_weights_of_the_other_kind_are_named(
    tmp_path: Path, mono: dict[str, Path], geometry: str, point_cloud: bool
) -> None:
    more = (f"depth-pro={mono['depth-pro']}",) if geometry == "align3r" else ()
    weights = hub(tmp_path, point_cloud)
    with pytest.raises(ConfigError, match="and --geometry asks for"):
        run(config(tmp_path, geometry, weights, more=more))


def test_point_maps_of_a_video_are_those_of_the_official_loader(mono: dict[str, Path]) -> None:
    """Of sizes that nothing is cropped from; Depth Anything's inverse depth stands in the place of depth."""
    image = world().video.images[0]
    for name, folder in mono.items():
        network = load_mono(name, folder, "cpu")
        answer = network(image).inverse_depth
        official = input_points(1 / answer if name == "depth-pro" else answer, 128)
        assert np.allclose(points_of(network, image, (128, 96)), official, atol=1e-6)


@pytest.mark.parametrize(
    ("fetched", "found"), [("align3r", "depth-pro"), ("align3r-depth-anything", "depth-anything")]
)
def test_fetched_align3r_gets_the_depth_that_it_was_trained_with(
    monkeypatch: pytest.MonkeyPatch, fetched: str, found: str
) -> None:
    monkeypatch.setattr(
        resolve, "fetched_model", lambda name: fetched if name == "align3r" else name
    )
    monkeypatch.setattr(resolve, "weights_path", lambda name, given: Path(name))
    assert resolve.Resources(geometry="align3r").mono() == Mono(found, Path(found))


def test_pointmaps_of_no_scene_are_named(tmp_path: Path) -> None:
    with pytest.raises(DegenerateError, match="the pointmaps of hub do not make a scene"):
        run(config(tmp_path, "dust3r", hub(tmp_path)))
    assert not (tmp_path / "out").exists()


def test_a_network_without_weights_is_refused(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", world().video.images[:2])
    with pytest.raises(
        ConfigError, match="weights of dust3r are not on this machine; fetch them with"
    ):
        run(RunConfig(input=images, geometry="dust3r", out=tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"the weights none\.pth of dust3r are not there"):
        run(RunConfig(input=images, geometry="dust3r", weights=("none.pth",), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_raft_of_random_weights_goes_from_a_checkpoint_to_a_result(tmp_path: Path) -> None:
    """Its flow says that nothing moves, which is what a tripod sees: no depth, and a warning."""
    torch.manual_seed(0)
    network = Raft(SMALL)
    for parameter in network.update_block.flow_head.conv2.parameters():
        torch.nn.init.zeros_(parameter)
    torch.save(network.state_dict(), tmp_path / "raft.pth")
    asked = RunConfig(
        input=write_images(tmp_path / "images", world().video.images),
        out=tmp_path / "out",
        flow="raft",
        weights=(f"raft={tmp_path / 'raft.pth'}",),
        masks="none",
        loop=0,
    )
    result = read_result(run(asked))
    assert result.run["flow"] == "raft"
    assert "no_parallax" in str(result.run["warnings"])


def test_raft_without_weights_is_refused(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", world().video.images[:2])
    with pytest.raises(ConfigError, match="weights of raft-large are not on this machine"):
        run(RunConfig(input=images, flow="raft", out=tmp_path / "out"))
