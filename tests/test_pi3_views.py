"""pi3 on a video: image sizes, chunks joined into one world, lenses, agreement of frames, and the prior of both."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation
from torch import Tensor

from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.scene import Flow, Video
from recon4d.core.similarity import Similarity
from recon4d.networks.pi3.input import PIXELS, ViewOptions, network_size
from recon4d.networks.pi3.network import Decoded, Pi3, Predicted
from recon4d.priors import Question
from recon4d.priors.chunks import SIGMA, gaps, lenses, prior_of, views_prior
from recon4d.priors.views import Views, chunks, predict_views, views_of
from tests.paths import centres, similarity
from tests.pi3_world import TINY, tiny, true_views
from tests.synthetic import SyntheticScene, make_scene

FRAMES, SIZE = 5, (128, 96)
NETWORK_SIZE = (126, 98)


@cache
def world() -> SyntheticScene:
    return make_scene(FRAMES, SIZE, seed=1, plain_lens=True)


def views() -> Views:
    return views_of(true_views(world(), NETWORK_SIZE, scale=0.2))


def question(folder: Path, video: Video, flow: Flow | None = None) -> Question:
    return Question(video, world().flow if flow is None else flow, folder / "none.pth", folder)


@pytest.mark.parametrize(
    ("size", "found"),
    [
        ((512, 288), (518, 294)),
        ((288, 512), (294, 518)),
        ((1920, 1080), (672, 378)),
        ((1000, 1000), (504, 504)),
        ((20, 9), (14, 14)),
    ],
)
def test_images_are_whole_patches_of_the_videos_aspect(
    size: tuple[int, int], found: tuple[int, int]
) -> None:
    assert network_size(size, 14) == found
    assert found[0] * found[1] <= PIXELS


def test_chunks_are_equally_long_and_overlap_by_enough() -> None:
    options = ViewOptions(chunk=10, overlap=3)
    assert chunks(10, options) == [(0, 10)]
    for frames in range(11, 60):
        found = chunks(frames, options)
        assert found[0][0] == 0 and found[-1][1] == frames
        assert all(last - first == 10 for first, last in found)
        assert all(a[1] - b[0] >= 3 for a, b in pairwise(found))
    with pytest.raises(ConfigError, match="chunks of 4 frames cannot overlap by 4"):
        ViewOptions(chunk=4, overlap=4)


class Told(Pi3):
    """Says the truth of every chunk in a world and a scale of that chunk's own; frames are told by their grey."""

    def __init__(self, depth: Tensor, poses: Float64[np.ndarray, "frames 4 4"]) -> None:
        super().__init__(TINY)
        self.depth, self.poses = depth, poses
        self.rng, self.encoded, self.spoilt = np.random.default_rng(0), 0, (-1, 1.0)

    def encode(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        return images.mean((1, 2, 3))[:, None, None] * 255

    def decode(self, tokens: Tensor, grid: tuple[int, int], **options: object) -> Decoded:
        return Decoded(tokens, {}, torch.zeros(len(tokens), 1, 2, dtype=torch.int64), grid, 1)

    def predict(self, decoded: Decoded) -> Predicted:
        frames = decoded.last[:, 0, 0].round().long()
        turn = Rotation.random(random_state=self.rng.integers(1000)).as_matrix()
        own = Similarity(float(self.rng.uniform(0.3, 3)), turn, self.rng.normal(size=3))
        z = own.scale * self.depth[frames][None, ..., None]
        frame, factor = self.spoilt
        z[:, frames == frame] *= factor
        poses = own.poses(self.poses[frames.numpy()])
        confidence = torch.zeros(z.shape[:-1])
        confidence[..., 0] = -9  # whose depth is wrong, differently in each chunk
        z[..., 0, :] = torch.rand(z[..., 0, :].shape)
        points = torch.cat((0 * z, 0 * z, z), dim=-1)
        return Predicted(points, confidence, torch.from_numpy(poses[None]).float())


def told(frames: int) -> tuple[Told, Video]:
    rng = np.random.default_rng(1)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(frames, 3))).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(frames, 3))
    grey = np.broadcast_to(
        np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 28, 42, 3)
    )
    video = Video(grey, np.arange(frames) / 30.0, tuple(map(str, range(frames))), (42, 28))
    return Told(torch.from_numpy(rng.uniform(1, 3, (frames, 28, 42))).float(), poses), video


def test_chunks_become_one_world_and_each_frame_is_encoded_once(tmp_path: Path) -> None:
    network, video = told(23)
    found = predict_views(network, question(tmp_path, video), ViewOptions(chunk=8, overlap=3))
    assert network.encoded == 23 and not found.notices
    factor, error = similarity(centres(found.world_from_cam), centres(network.poses))
    assert np.abs(error).max() < 1e-4
    ratio = network.depth.numpy()[..., 1:] / found.depth[..., 1:]
    np.testing.assert_allclose(ratio, factor, rtol=1e-4)


def test_a_single_bad_frame_does_not_bend_the_join(tmp_path: Path) -> None:
    network, video = told(12)
    network.spoilt = (5, 3.0)
    found = predict_views(network, question(tmp_path, video), ViewOptions(chunk=8, overlap=3))
    ratio = np.delete(network.depth.numpy() / found.depth, 5, axis=0)[..., 1:]
    np.testing.assert_allclose(ratio, ratio[0, 0, 1], rtol=1e-4)


def test_the_focal_length_is_recovered_from_local_points_whatever_the_outliers() -> None:
    truth = world().scene.intrinsics[0, 0]
    focal, error = lenses(views(), SIZE)
    np.testing.assert_allclose(focal, truth, rtol=1e-5)
    assert error.max() < 1e-4
    wild = views().rays.copy()
    wild[:, ::3] = np.random.default_rng(0).normal(size=wild[:, ::3].shape)
    focal, error = lenses(replace(views(), rays=wild), SIZE)
    np.testing.assert_allclose(focal, truth, rtol=1e-2)
    assert error.max() < 0.02


def test_rays_of_no_lens_are_far_off() -> None:
    wild = np.random.default_rng(0).normal(size=views().rays.shape).astype(np.float32)
    for rays in (wild, 0 * wild, -views().rays):
        assert lenses(replace(views(), rays=rays), SIZE)[1].min() > 0.7


def test_points_of_a_frame_lie_where_other_frames_see_them() -> None:
    focal, _ = lenses(views(), SIZE)
    assert gaps(views(), focal, world().flow, SIZE).max() < 0.01
    unscaled = replace(views(), world_from_cam=np.asarray(world().scene.world_from_cam))
    assert gaps(unscaled, focal, world().flow, SIZE).min() > 0.03  # poses not scaled with points


def test_the_prior_is_the_views_depth_as_sure_as_their_confidence(tmp_path: Path) -> None:
    given = views()
    given.confidence[:] = 1.0
    given.confidence[:, :, : NETWORK_SIZE[0] // 2] = 0.25
    prior = prior_of(given, question(tmp_path, world().video))
    assert not prior.is_metric and not prior.notices
    assert prior.focal_px == pytest.approx(world().scene.intrinsics[0, 0], rel=1e-4)
    ratio = prior.depth / world().depth
    assert np.median(np.abs(ratio / 0.2 - 1)) < 0.01
    sigma = prior.relative_sigma
    assert sigma is not None
    np.testing.assert_allclose(sigma[:, :, :60], 4 * SIGMA, rtol=1e-3)
    np.testing.assert_allclose(sigma[:, :, 70:], SIGMA, rtol=1e-3)


def test_frames_that_do_not_fit_have_no_prior(tmp_path: Path) -> None:
    given = views()
    given.rays[1] = 0
    given.depth[3] *= 4
    prior = prior_of(given, question(tmp_path, world().video))
    assert (prior.depth[[1, 3]] == 0).all() and (prior.depth[[0, 2, 4]] > 0).all()
    assert [(n.code, n.frames) for n in prior.notices] == [("prediction_does_not_fit", (1, 3))]


def test_points_that_contradict_each_other_are_no_scene(tmp_path: Path) -> None:
    given = views()
    given.depth[:] *= np.array([1, 5, 25, 125, 625], np.float32)[:, None, None]
    with pytest.raises(DegenerateError, match="no frame's points fit to those of other frames"):
        prior_of(given, question(tmp_path, world().video))


def test_numbers_that_are_not_finite_are_named(tmp_path: Path) -> None:
    network = tiny()
    torch.nn.init.constant_(network.encoder.cls_token, torch.nan)
    save_file(network.state_dict(), tmp_path / "nan.safetensors")
    asked = replace(question(tmp_path, world().video), weights=tmp_path / "nan.safetensors")
    with pytest.raises(ConfigError, match="cls_token has values that are no finite numbers"):
        views_prior(asked)


def test_weights_whose_numbers_become_infinite_are_named(tmp_path: Path) -> None:
    network = tiny()
    torch.nn.init.constant_(network.encoder.cls_token, 3e38)  # finite, its square is not
    save_file(network.state_dict(), tmp_path / "large.safetensors")
    asked = replace(question(tmp_path, world().video), weights=tmp_path / "large.safetensors")
    with pytest.raises(
        DegenerateError, match=r"of large\.safetensors do not make a scene: its numbe"
    ):
        views_prior(asked)


def test_half_precision_needs_cuda(tmp_path: Path) -> None:
    network, video = told(3)
    with pytest.raises(ConfigError, match="half precision needs CUDA, the network is on cpu"):
        predict_views(network, question(tmp_path, video), ViewOptions(half=True))
