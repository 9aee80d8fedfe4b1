"""RAFT: equal to torchvision's numbers, and a flow as the rest of the program takes it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import parity
from benchmarks.peers import raft as parity_raft
from recon4d.core.errors import ConfigError
from recon4d.core.scene import Flow
from recon4d.flow import raft, window_pairs
from recon4d.flow.dis import Dis
from recon4d.flow.raft import RaftFlow, encode_frame, load_raft, working_order
from recon4d.flow.store import measured_flow
from recon4d.flow.views import FrameViews, with_confidence
from recon4d.networks import correlation
from recon4d.networks import raft as raft_network
from recon4d.networks.raft import LARGE, SMALL, Encoded, Raft, RaftSize
from tests import needs

CPU = torch.device("cpu")
FRAMES, HEIGHT, WIDTH = 4, 52, 76


@pytest.fixture
def golden(shared_data: Path) -> Path:
    return shared_data.parent / "golden"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(SMALL, tmp_path_factory.mktemp("weights") / "raft_small.pth")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def pairs() -> np.ndarray:
    return window_pairs(FRAMES)


def saved(size: RaftSize, path: Path) -> Path:
    shapes = {name: list(value.shape) for name, value in Raft(size).state_dict().items()}
    torch.save(parity_raft.random_weights(shapes, 7), path)
    return path


@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_the_outputs_equal_those_of_the_official_code(golden: Path, name: str) -> None:
    assert parity.main(["--fixture", str(golden / f"{name}.npz")]) == 0


@pytest.mark.parametrize(("name", "size"), [("raft_small", SMALL), ("raft_large", LARGE)])
def test_keys_and_shapes_are_the_official_ones(golden: Path, name: str, size: RaftSize) -> None:
    official = json.loads((golden / f"{name}.json").read_text())["state_dict"]
    ours = {key: list(value.shape) for key, value in Raft(size).state_dict().items()}
    assert ours == official


def test_a_transposed_lookup_would_be_seen(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = correlation.look_up

    def transposed(pyramid: list[Tensor], at: Tensor, radius: int) -> Tensor:
        side = 2 * radius + 1
        seen = look_up(pyramid, at, radius)
        squares = seen.reshape(len(seen), -1, side, side, *seen.shape[2:])
        return squares.transpose(2, 3).reshape(seen.shape)

    monkeypatch.setattr(raft_network, "look_up", transposed)
    assert parity.main(["--fixture", str(golden / "raft_small.npz")]) == 1


def test_the_official_features_are_farther_from_double_precision_than_their_suggested_tolerance(
    golden: Path,
) -> None:
    """Why `FEATURES_ATOL` is 3e-5: 1e-5 would refuse a network without any rounding."""
    fixture = parity.Fixture.read(golden / "raft_small.npz")
    network = raft.raft_of(parity_raft.fixture_weights(fixture)).double()
    images = torch.cat([fixture.tensor(f"in/image{k}") for k in (1, 2)]).double()
    error = np.abs(network.feature_encoder(images).numpy() - fixture.arrays["fmap"])
    assert 1e-5 < error.max() < parity_raft.FEATURES_ATOL


def test_the_size_is_recognised_by_the_keys(tmp_path: Path, weights: Path) -> None:
    assert load_raft(weights, CPU).size is SMALL
    assert load_raft(saved(LARGE, tmp_path / "large.pth"), CPU).size is LARGE


def test_other_weights_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"do not fit RAFT small: \d+ missing keys"):
        load_raft(tmp_path / "other.pth", CPU)


def test_the_flow_has_the_form_of_every_other(
    images: np.ndarray, pairs: np.ndarray, weights: Path, tmp_path: Path
) -> None:
    flow = flow_of(images, pairs, weights, tmp_path / "raft")
    (tmp_path / "dis").mkdir()
    other = measured_flow(Dis(), images, pairs, tmp_path / "dis", 1)
    assert np.array_equal(flow.edges, other.edges)
    for name in ("flow_px", "confidence"):
        ours, theirs = getattr(flow, name), getattr(other, name)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert isinstance(ours, np.memmap)


def flow_of(images: np.ndarray, pairs: np.ndarray, weights: Path, folder: Path) -> Flow:
    folder.mkdir()
    return measured_flow(RaftFlow(weights, CPU, 1), images, pairs, folder, 1)


def test_each_direction_is_the_networks_flow_of_that_direction(
    images: np.ndarray, weights: Path, tmp_path: Path
) -> None:
    """Half precision is stored: 1e-3 of the values."""
    flow = flow_of(images, np.array([[1, 2]]), weights, tmp_path / "raft")
    network = load_raft(weights, CPU)
    there, back = (np.asarray(direct(network, images[list(edge)])) for edge in flow.edges.tolist())
    np.testing.assert_allclose(flow.flow_px[0], there, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(flow.flow_px[1], back, rtol=1e-3, atol=1e-3)
    views = FrameViews(images)
    _, sure = with_confidence(there, back, views(1), views(2))
    assert np.abs(flow.confidence - sure.astype(int)).max() <= 1


def direct(network: Raft, two: np.ndarray) -> np.ndarray:
    """Mean over 2x2 pixels of the flow from the first image to the second."""
    source, target = (encode_frame(network, image) for image in two)
    with torch.inference_mode():
        *_, last = network.updates(source, target, raft.UPDATES)
        whole = network.upsample(*last)[0, :, :HEIGHT, :WIDTH]
    return whole.reshape(2, HEIGHT // 2, 2, WIDTH // 2, 2).mean((2, 4)).permute(1, 2, 0).numpy()


def test_every_frame_is_encoded_once_for_all_its_pairs(
    images: np.ndarray, pairs: np.ndarray, weights: Path
) -> None:
    network = load_raft(weights, CPU)
    seen = {"feature": 0, "context": 0}
    network.feature_encoder.register_forward_hook(lambda *_: count(seen, "feature"))
    network.context_encoder.register_forward_hook(lambda *_: count(seen, "context"))
    found = [index for index, _ in raft.raft_pairs(network, images, pairs, 1)]
    assert sorted(found) == list(range(len(pairs)))
    assert seen == {"feature": FRAMES, "context": FRAMES}


def count(seen: dict[str, int], which: str) -> None:
    seen[which] += 1


def test_few_frames_are_held(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window's frames, not the video's."""
    held = []
    forget = raft._Frames.finished

    def counted(self: raft._Frames, a: int, b: int, coarse: Tensor) -> None:
        held.append(len(self._encoded))
        forget(self, a, b, coarse)

    monkeypatch.setattr(raft._Frames, "finished", counted)
    monkeypatch.setattr(raft, "UPDATES", 1)
    images = np.zeros((20, 64, 64, 3), np.uint8)
    for _ in raft.raft_pairs(load_raft(weights, CPU), images, window_pairs(20, (1, 3)), 1):
        pass
    assert max(held) == 4


def test_pairs_are_taken_from_near_to_far() -> None:
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    assert [pairs[k].tolist() for k in working_order(pairs)] == [
        [0, 1],
        [1, 2],
        [0, 2],
        [2, 3],
        [1, 3],
        [0, 3],
    ]


def test_a_pair_begins_from_the_flow_of_a_nearer_one(
    images: np.ndarray, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Tensor | None] = []
    ends: list[Tensor] = []
    updates = Raft.updates

    def recorded(
        self: Raft, source: Encoded, target: Encoded, count: int, start: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        starts.append(start)
        found = list(updates(self, source, target, count, start))
        ends.append(found[-1][0])
        return iter(found)

    monkeypatch.setattr(Raft, "updates", recorded)
    pairs = np.array([[0, 1], [1, 2], [0, 2]])
    for _ in raft.raft_pairs(load_raft(weights, CPU), images, pairs, 1):
        pass
    assert starts[0] is None and starts[1] is None
    assert starts[2] is not None
    assert torch.equal(starts[2], torch.stack((2 * ends[0][0], 2 * ends[1][1])))


def test_a_pair_without_a_nearer_one_on_one_side_begins_there_from_zero(
    images: np.ndarray, weights: Path
) -> None:
    frames = raft._Frames(load_raft(weights, CPU), images, np.array([[0, 1], [0, 3]]))
    coarse = torch.ones((2, 2, 8, 10))
    frames(0), frames(1)
    frames.finished(0, 1, coarse)
    start = frames.start(0, 3)
    assert start is not None
    assert torch.equal(start, torch.stack((3 * coarse[0], 0 * coarse[1])))


def test_images_smaller_than_the_pyramid_are_padded(weights: Path) -> None:
    network = load_raft(weights, CPU)
    encoded = encode_frame(network, np.zeros((20, 30, 3), np.uint8))
    assert encoded.features.shape[-2:] == (8, 8)
    images = np.zeros((2, 20, 30, 3), np.uint8)
    _, flows = next(raft.full_flows(network, images, np.array([[0, 1]]), 1))
    assert flows.shape == (2, 20, 30, 2)


def test_no_pairs_give_an_empty_flow(images: np.ndarray, weights: Path, tmp_path: Path) -> None:
    flow = flow_of(images, np.zeros((0, 2), np.int64), weights, tmp_path / "raft")
    assert flow.flow_px.shape == (0, HEIGHT // 2, WIDTH // 2, 2)


def test_a_flow_that_is_not_finite_is_refused(images: np.ndarray, weights: Path) -> None:
    network = load_raft(weights, CPU)
    network.update_block.flow_head.conv2.weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match="not finite"):
        next(raft.raft_pairs(network, images, np.array([[0, 1]]), 1))


@pytest.mark.gpu
@needs.cuda
def test_half_precision_on_cuda_is_near_the_cpu(images: np.ndarray, weights: Path) -> None:
    """Features of half precision differ by 1e-3; updates of random weights amplify that."""
    pair = np.array([[0, 1]])
    (_, cpu), (_, cuda) = (
        next(raft.full_flows(load_raft(weights, torch.device(name)), images, pair, 1))
        for name in ("cpu", "cuda")
    )
    assert (cpu - cuda.cpu()).abs().median() < 0.05 * cpu.abs().median()
