"""`recon4d train geomotion`: the loss falls, pi3 stays as it is, an interruption changes nothing, and runs load it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recon4d.cli import main
from recon4d.core.errors import ConfigError, DivergedError, InputError
from recon4d.core.progress import no_progress
from recon4d.flow.raft import load_raft
from recon4d.masks.geomotion.network import load_geomotion
from recon4d.masks.train.geomotion import clips as geomotion_clips
from recon4d.masks.train.geomotion import fit
from recon4d.masks.train.geomotion.clips import (
    ClipOptions,
    Clips,
    MotionClip,
    find_parts,
    motion_clips,
)
from recon4d.masks.train.geomotion.fit import (
    LossWeights,
    MotionFit,
    fit_motion,
    intersection_over_union,
    motion_loss,
    start_network,
)
from recon4d.networks.pi3.network import Pi3
from tests.test_train_command import data_set
from tests.tiny_geomotion import TINY, save_raft, save_tiny

SIDE, FRAMES = 84, 3


def clip(seed: int = 0) -> MotionClip:
    """A square that moves over noise; its flow is that of the square, two of three frames are labelled."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (FRAMES, SIDE, SIDE, 3), np.uint8)
    moved = rng.uniform(0, 0.3, (FRAMES, SIDE, SIDE)).astype(np.float16)
    truth = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for frame in range(FRAMES):
        place = np.s_[frame, 20:60, 10 + 8 * frame : 50 + 8 * frame]
        images[place], moved[place], truth[place] = 220, 8, 255
    return MotionClip(images, moved, np.array([0, 2]), truth[[0, 2]])


def clips(held_out: int = 0) -> Clips:
    return Clips((clip(0), clip(1)), tuple(clip(k) for k in range(2, 2 + held_out)))


def options(**changed: Any) -> MotionFit:
    return MotionFit(**{"steps": 20, "rate": 1e-2, **changed})


def test_the_loss_falls_in_twenty_steps_and_only_the_motion_decoder_learns(tmp_path: Path) -> None:
    network = start_network(save_tiny(tmp_path), 0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    done = fit_motion(tmp_path, network, clips(), options(), no_progress)
    assert len(done.losses) == 20
    assert np.mean(done.losses[-4:]) < 0.7 * np.mean(done.losses[:4])
    changed = {n.split(".")[0] for n, v in network.state_dict().items() if (v != before[n]).any()}
    assert changed == {"motion_aware_decoder", "conf_decoder", "conf_head"}
    assert intersection_over_union(network, clips().train) > 0.5
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["loss"] for entry in log] == done.losses


def save_pi3(folder: Path) -> Path:
    torch.manual_seed(3)
    torch.save(Pi3(TINY.pi3).state_dict(), folder / "pi3.pth")
    return folder / "pi3.pth"


def test_the_decoder_starts_as_that_of_pi3s_confidence(tmp_path: Path) -> None:
    path = save_pi3(tmp_path)
    stored, state = torch.load(path, weights_only=True), start_network(path, 0).state_dict()
    assert all(torch.equal(state[name], value) for name, value in stored.items())
    added = state.keys() - stored.keys()
    assert len(added) == 10 and all(name.startswith("motion_aware_decoder.") for name in added)
    assert state["motion_aware_decoder.flow_encoder.0.weight"].shape == (32, 1, 3, 3)
    other = start_network(path, 1).state_dict()
    name = "motion_aware_decoder.fusion_proj.weight"
    assert torch.equal(start_network(path, 0).state_dict()[name], state[name])
    assert not torch.equal(other[name], state[name])


def test_an_interruption_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, asked = save_tiny(tmp_path), options(steps=6)
    monkeypatch.setattr(fit, "SAVE_EVERY", 2)
    whole = start_network(weights, 0)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    fit_motion(tmp_path / "whole", whole, clips(1), asked, no_progress)
    step = fit._step

    def interrupted(*given: Any) -> float:
        if given[3] == 3:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(fit, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_motion(tmp_path / "parts", start_network(weights, 0), clips(1), asked, no_progress)
    monkeypatch.setattr(fit, "_step", step)
    parts = start_network(weights, 0)
    fit_motion(tmp_path / "parts", parts, clips(1), asked, no_progress)
    for name, value in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], value), name
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1] and logs[0].count("iou_held_out") == 3
    with pytest.raises(ConfigError, match="by a training with other options"):
        fit_motion(tmp_path / "parts", parts, clips(1), replace(asked, rate=1e-3), no_progress)


def test_held_out_videos_choose_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.2, 0.6, 0.4))
    monkeypatch.setattr(fit, "intersection_over_union", lambda *_: next(scores))
    seen: list[torch.Tensor] = []
    judge = fit._judge

    def watched(network: Any, *given: Any) -> None:
        seen.append(network.conf_head.proj.bias.detach().clone())
        judge(network, *given)

    monkeypatch.setattr(fit, "_judge", watched)
    network = start_network(save_tiny(tmp_path), 0)
    fit_motion(tmp_path, network, clips(1), options(steps=6), no_progress)
    assert torch.equal(network.conf_head.proj.bias, seen[1])
    assert not torch.equal(seen[2], seen[1])


def test_terms_of_the_loss_are_weighted_and_vanish_where_all_is_right() -> None:
    truth = (torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    certain = 40 * (2 * truth - 1)
    for weights in (LossWeights(), LossWeights(0.0, 1.0, 1.0)):
        assert motion_loss(certain, truth, weights) < 1e-6
        assert motion_loss(-certain, truth, weights) > 0.4
    zero = torch.zeros_like(truth)
    only = [motion_loss(zero, truth, LossWeights(*w)) for w in torch.eye(3).tolist()]
    torch.testing.assert_close(motion_loss(zero, truth, LossWeights()), (only[0] + only[1]) / 2)
    torch.testing.assert_close(only[2], torch.tensor(2.0).log())
    with pytest.raises(ConfigError, match="all weights of the loss are 0"):
        LossWeights(0.0, 0.0, 0.0)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    network = start_network(save_tiny(tmp_path), 0)
    torch.nn.init.constant_(network.conf_head.proj.bias, float("nan"))
    with pytest.raises(DivergedError, match="the loss of GeoMotion is nan at step 0"):
        fit_motion(tmp_path, network, clips(), options(), no_progress)


def test_windows_over_labelled_videos_become_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, raft = data_set(tmp_path / "data"), load_raft(save_raft(tmp_path), torch.device("cpu"))
    parts = find_parts(ClipOptions({"folder": root}, frames=4))
    found = motion_clips(tmp_path / "clips", parts, SIDE, raft, 1, no_progress)
    assert [part.images.shape for part in found.train] == [(4, SIDE, SIDE, 3)] * 2
    assert [part.labelled.tolist() for part in found.train] == [[0, 2], [0, 2]]  # frames 0 and 2
    assert found.held_out == () and found.train[0].truth.max() == 255
    assert np.asarray(found.train[0].moved_px).any()

    def unread(*_: object) -> None:
        raise AssertionError("everything is there already")

    monkeypatch.setattr(geomotion_clips, "flow_magnitude", unread)
    again = motion_clips(tmp_path / "clips", parts, SIDE, raft, 1, no_progress)
    assert np.array_equal(again.train[1].moved_px, found.train[1].moved_px)


def test_data_without_labels_and_unknown_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none are given; give some with --data NAME=DIR"):
        ClipOptions({})
    with pytest.raises(ConfigError, match="there is no training set 'kinetics'"):
        ClipOptions({"kinetics": tmp_path})
    root = data_set(tmp_path, frames=2)
    for kind in ("images", "masks"):
        (root / kind / "walk" / "00001.png").unlink(missing_ok=True)
    with pytest.raises(InputError, match="none of the 1 videos has a labelled frame beside"):
        find_parts(ClipOptions({"folder": root}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "none are given; give some with --data"),
        (["--data", "folder"], "write NAME=DIR"),
        (["--weights", "d2mif=x"], "NAME one of: geomotion, pi3, raft"),
        (["--weights", "pi3=x", "--weights", "geomotion=y"], "give one of the two"),
        (["--focal-loss", "-1"], "--focal-loss must be a number of at least 0, got '-1'"),
        (["--clip-frames", "1"], "--clip-frames must be a whole number of at least 2"),
        (["--data", "folder=nowhere", "--weights", "pi3=gone"], "nowhere is missing"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, raft = tmp_path / "out", save_raft(tmp_path)
    start = [] if any("=x" in w or "gone" in w for w in words) else ["--weights", "pi3=x"]
    given = ["train", "geomotion", "--out", str(out), "--weights", f"raft={raft}", *start]
    assert main([*given, *words]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("recon4d: error")]
    assert len(lines) == 1 and said in lines[0]
    assert not out.exists()


@pytest.mark.slow
def test_the_command_writes_a_checkpoint_that_masks_are_made_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, pi3, raft = data_set(tmp_path / "data"), save_pi3(tmp_path), save_raft(tmp_path)
    words = ["train", "geomotion", "--out", str(tmp_path / "out"), "--data", f"folder={root}"]
    words += ["--weights", f"pi3={pi3}", "--weights", f"raft={raft}"]
    words += ["--steps", "20", "--rate", "1e-3", "--clip-frames", "4", "--workers", "1"]
    assert main(words) == 0
    path = tmp_path / "out" / "geomotion.safetensors"
    assert f"--masks geomotion --weights geomotion={path}" in capsys.readouterr().out
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log]
    assert len(losses) == 20 and np.mean(losses[-5:]) < np.mean(losses[:5])
    network, stored = load_geomotion(path), load_file(path)
    assert stored.keys() == network.state_dict().keys()
    assert torch.equal(
        stored["encoder.norm.weight"], torch.load(pi3, weights_only=True)["encoder.norm.weight"]
    )
    assert "--steps 20" in path.with_suffix(".md").read_text()
    assert main(words) == 0  # nothing is computed again
    assert load_file(path)["conf_head.proj.bias"].equal(stored["conf_head.proj.bias"])
    assert main([*words[:-2], "--seed", "1"]) == 2
