"""`recon4d train d2mif` from the command line."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recon4d.cli import main
from recon4d.core.errors import ConfigError, InputError
from recon4d.core.progress import no_progress
from recon4d.masks.d2mif.weights import load_weights
from recon4d.masks.train.d2mif.library import LibraryOptions, clip_library, real_parts
from recon4d.masks.train.worlds.clip import render_clip
from recon4d.masks.train.worlds.material import load_material
from recon4d.weights.files import read_weights


def data_set(folder: Path, frames: int = 7) -> Path:
    """A labelled video in the layout `folder`, with masks for every second frame."""
    for seed in range(1, 20):  # the first is a wall of stripes, along which no flow can be measured
        clip = render_clip(seed, load_material((), cut=False), (192, 128), frames)
        if clip.is_dynamic.mean() > 0.03:
            break
    for frame in range(frames):
        for kind in ("images", "masks"):
            (folder / kind / "walk").mkdir(parents=True, exist_ok=True)
        image = np.ascontiguousarray(clip.images[frame][..., ::-1])
        assert cv2.imwrite(str(folder / "images" / "walk" / f"{frame:05d}.png"), image)
        if frame % 2 == 0:
            mask = clip.is_dynamic[frame].astype(np.uint8) * 255
            assert cv2.imwrite(str(folder / "masks" / "walk" / f"{frame:05d}.png"), mask)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "0"], "--steps must be a whole number of at least 1, got '0'"),
        (["--clips", "x"], "--clips must be a whole number of at least 2, got 'x'"),
        (["--branches", "geometry,smell"], "choose some of geometry, appearance, motion"),
        (["--size", "medium"], "light, full"),
        (["--data", "davis16-train"], "write NAME=DIR"),
        (["--data", "kinetics=x"], "there is no training set 'kinetics'"),
        (["--data", "folder=nowhere"], "nowhere is missing"),
        (["--textures", "nowhere", "--imagenet", "no"], "nowhere holds no .jpg or .png"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "d2mif", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*given, *words]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("recon4d: error")]
    assert len(lines) == 1 and said in lines[0]


def test_a_folder_that_holds_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["train", "d2mif", "--out", str(tmp_path)]) == 2
    assert "is not empty and holds no training" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_parts_of_videos_without_annotation_are_no_samples(tmp_path: Path) -> None:
    root = data_set(tmp_path)
    (part,) = real_parts({"folder": root})
    assert (part.start, part.stop) == (0, 7)
    for mask in (root / "masks" / "walk").iterdir():
        mask.unlink()
    with pytest.raises(InputError, match="holds no images"):
        real_parts({"folder": root})


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="available: davis16-train"):
        LibraryOptions(data={"kinetics": Path("x")})


@pytest.mark.slow
def test_annotated_frames_of_a_real_video_become_samples(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data")
    options = LibraryOptions(clips=0, data={"folder": root})
    (samples,) = clip_library(tmp_path / "clips", options, 1, no_progress)
    assert len(samples.images) == len(samples.truth) == len(samples.maps) == 4
    assert samples.images.shape[1:3] == (128, 192) and samples.truth.max() == 255
    assert not list((tmp_path / "clips").rglob("scratch"))


@pytest.mark.slow
def test_two_minutes_of_training_lower_the_validation_loss(tmp_path: Path) -> None:
    out = tmp_path / "training"
    words = ["train", "d2mif", "--out", str(out), "--imagenet", "no", "--batch", "4"]
    words += ["--clips", "20", "--steps", "40", "--rate", "3e-4", "--workers", "2", "--seed", "1"]
    assert main(words) == 0
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss_held_out"] for entry in log]
    assert [entry["step"] for entry in log] == list(range(0, 41, 4))
    # two held-out clips: .84 to .90 before, .72 to .81 after, but eighteen others are soon learnt by heart
    assert min(losses[1:]) < losses[0] - 0.03
    weights = out / "d2mif.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    card = (out / "d2mif.md").read_text()
    assert digest in card and "--steps 40" in card and f"loss {min(losses[1:]):.4f}" in card
    assert load_weights(weights).network.config.width == 64
    first = read_weights(weights)
    assert main(words) == 0  # everything is there: nothing is computed again
    again = read_weights(weights)  # safetensors writes its metadata in any order: bytes may differ
    assert again.extra == first.extra
    assert all(torch.equal(again.tensors[name], x) for name, x in first.tensors.items())
    assert main([*words[:-1], "2"]) == 2
    assert torch.get_num_threads() >= 1
