"""What a run's options choose is what computes: the flow method everywhere, the seed in every random choice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recon4d.core.scene import MotionMasks
from recon4d.flow import FlowMethod, Measured
from recon4d.flow.dis import Dis
from recon4d.flow.views import FrameView
from recon4d.masks.easi3r import cluster_tokens
from recon4d.masks.refine.edges import refine_frame
from recon4d.run.methods import Methods
from recon4d.run.options import resources
from recon4d.run.pipeline import run
from recon4d.settings.config import RunConfig
from recon4d.settings.optim import OptimConfig
from recon4d.settings.text import build
from tests.media import write_images
from tests.synthetic import make_scene
from tests.test_longvideo import InOrder
from tests.test_longvideo import run as run_in_order

FRAMES = 14


class Counting(Dis):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.warps = 0

    def pairs(self, images: np.ndarray, pairs: np.ndarray, threads: int) -> Iterator[Measured]:
        self.asked.append(len(pairs))
        return super().pairs(images, pairs, threads)

    def warped(self, first: FrameView, second: FrameView, at: np.ndarray) -> np.ndarray:
        self.warps += 1
        return super().warped(first, second, at)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """The only flow method that there is."""
    one = Counting()

    def chosen(name: str, resources: Any = None) -> FlowMethod:
        assert name == "raft"
        return one

    for module in ("methods", "long.keyframes"):
        monkeypatch.setattr(f"recon4d.run.{module}.flow_method", chosen)
    return one


def test_the_chosen_flow_measures_rounds_and_check(counting: Counting, tmp_path: Path) -> None:
    made = make_scene(FRAMES, (128, 96), seed=5)
    images = write_images(tmp_path / "images", made.video.images)
    camera = {"intrinsics": "110.08,111.36,64.14,46.54", "readout": 0.0}
    asked = {"masks": "residual", "flow": "raft", "loop": 1}
    run(build({"input": images, "out": tmp_path / "out", **asked, **camera}))
    first, *check = counting.asked
    assert first > FRAMES  # window of pairs
    assert counting.warps >= 2 * (FRAMES - 5)  # both ways, at least of frames 5 apart
    assert check == [FRAMES - 10]  # frames 10 apart are in no window


@pytest.mark.slow
def test_the_chosen_flow_measures_keyframes_of_a_long_video(
    counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_scene(FRAMES, (160, 120), seed=5)
    optim = OptimConfig(clip_frames=8, clip_overlap=3, whole_frames=8)
    images = write_images(tmp_path / "images", made.video.images)
    asked = RunConfig(
        input=images,
        out=tmp_path / "out",
        masks="none",
        flow="raft",
        loop=0,
        workers=1,
        optim=optim,
    )
    run_in_order(monkeypatch, asked, InOrder())
    assert counting.warps > 0  # no round guides flow here, so that these are between keyframes
    assert len(counting.asked) >= 4  # two clips and their checks, and loops where frames look alike


def test_the_seed_is_that_of_the_colours_first_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(cv2, "setRNGSeed", seeds.append)
    made = make_scene(2, (96, 64), seed=1)
    shape = (32, 48)
    probability = np.zeros(shape, np.float32)
    probability[8:24, 12:36] = 0.95
    refine_frame(made.video.images[0], MotionMasks(probability[None], 3), 0, seed=7)
    assert seeds == [7]
    config = RunConfig(input=Path("x"), seed=2**40 + 5)
    assert resources(config).seed == config.seed
    assert Methods.of(config).prior is None


def test_two_seeds_of_easi3rs_clusters_give_two_results() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn (pip install 'recon4d[models]')")
    tokens = np.random.default_rng(0).normal(size=(3, 12, 16, 4)).astype(np.float32)
    first, same, other = (cluster_tokens(tokens, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
