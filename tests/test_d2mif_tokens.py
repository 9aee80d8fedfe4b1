"""D2MIF with tokens of a frozen network: from its checkpoint to training, to a file of weights, to a run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recon4d.cli import main
from recon4d.core.errors import ConfigError
from recon4d.core.progress import no_progress
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.network import GEOMETRY_CHANNELS, MOTION_CHANNELS, D2mif
from recon4d.masks.d2mif.weights import Calibration, load_weights, save_weights
from recon4d.masks.train.d2mif import batches
from recon4d.masks.train.d2mif.batches import random_batch, whole_frame
from recon4d.masks.train.d2mif.fit import FitOptions, fit, validate
from recon4d.masks.train.d2mif.samples import Samples
from recon4d.masks.train.d2mif.tokens import reading, with_tokens
from recon4d.networks.tokens import LAYERS, fingerprint, token_source, video_tokens
from recon4d.results.folder import read_result
from recon4d.run.pipeline import run
from recon4d.settings.config import RunConfig
from recon4d.weights.resolve import Backbone, Mono
from tests.media import write_images
from tests.pi3_world import tiny as tiny_pi3
from tests.synthetic import make_scene
from tests.test_croco import TINY_ARGUMENTS, save_hub, tiny
from tests.test_mono import tiny_models

SMALL = NetworkConfig(width=8, head=8, encoder=(8, 8, 16, 16), blocks=1, appearance="resnet")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dust3r(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """Tiny, random."""
    folder = tmp_path_factory.mktemp("dust3r")
    return Backbone("dust3r", save_hub(tiny(), folder, TINY_ARGUMENTS))


def bright_squares(seed: int, frames: int = 2) -> Samples:
    """Clips whose maps are noise: that bright squares move only images tell, and their tokens."""
    rng = np.random.default_rng(seed)
    rows, cols = batches.CROP[0] // 2, batches.CROP[1] // 2
    truth = np.zeros((frames, rows, cols), np.uint8)
    for frame in range(frames):
        top, left = int(rng.integers(rows - 50)), int(rng.integers(cols - 50))
        truth[frame, top : top + 40, left : left + 40] = 255
    channels = MOTION_CHANNELS + GEOMETRY_CHANNELS
    maps = rng.integers(-30, 31, (frames, 2, channels, rows, cols)).astype(np.int8)
    bright = truth.repeat(2, axis=1).repeat(2, axis=2)[..., None] // 2
    images = (bright + rng.integers(0, 64, (*bright.shape[:3], 3))).astype(np.uint8)
    return Samples(images, truth, maps)


@pytest.fixture(scope="module", params=["dust3r", "align3r", "pi3"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """One of each kind."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "pi3":
        save_file(tiny_pi3().state_dict(), folder / "model.safetensors")
        return Backbone("pi3", folder)
    if request.param == "dust3r":
        return Backbone("dust3r", save_hub(tiny(), folder, TINY_ARGUMENTS))
    mono = Mono("depth-anything", tiny_models(folder)["depth-anything"])
    network = tiny(point_cloud=True)
    return Backbone("align3r", save_hub(network, folder, TINY_ARGUMENTS), mono)


def test_tokens_follow_their_image_and_its_neighbour(tmp_path: Path, backbone: Backbone) -> None:
    source = token_source(backbone, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 56, 80, 3), np.uint8)
    found = video_tokens(source, images, tmp_path / "a.npy")
    values = LAYERS * source.channels + source.statistics
    grid = (4, 6) if backbone.name == "pi3" else (4, 5)  # 56x84 pixels, or 64x80
    assert found.shape == (3, *grid, values) and found.dtype == np.float16
    images[2] //= 2
    again = video_tokens(source, images, tmp_path / "b.npy")
    same = [np.array_equal(a, b) for a, b in zip(found, again, strict=True)]
    assert same == [True, False, False]
    encoder = found[1, ..., : source.channels]
    assert np.array_equal(encoder, again[1, ..., : source.channels])  # sees its image alone


def test_a_fingerprint_is_that_of_the_weights(dust3r: Backbone) -> None:
    network = tiny()
    assert token_source(dust3r, "cpu").fingerprint == fingerprint(network)
    with torch.no_grad():
        network.enc_norm.bias.add_(1e-3)
    assert token_source(dust3r, "cpu").fingerprint != fingerprint(network)
    assert fingerprint(network) != fingerprint(network, "depth-pro")


def test_a_network_without_tokens_is_named() -> None:
    with pytest.raises(ConfigError, match="there are no tokens of 'depth-pro'"):
        token_source(Backbone("depth-pro", Path("x")), "cpu")


def test_training_learns_what_only_tokens_tell(tmp_path: Path, dust3r: Backbone) -> None:
    clips = tuple(bright_squares(seed) for seed in range(4))
    source = token_source(dust3r, "cpu")
    seen = with_tokens(tmp_path, clips, source, no_progress)
    network = reading(replace(SMALL, branches=("motion",)), "dust3r", source)
    options = FitOptions(network=network, steps=40, batch=2, rate=1e-2, validate_every=20)
    trained = fit(tmp_path, seen[:3], seen[3:], options, None, no_progress)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss_held_out"] < 0.7 * log[0]["loss_held_out"]
    mute = replace(seen[3], tokens=np.zeros_like(seen[3].tokens))
    assert validate(trained, seen[3:]).iou > 0.3 > validate(trained, [mute]).iou


def test_tokens_of_a_crop_are_read_where_it_lies(tmp_path: Path, dust3r: Backbone) -> None:
    clip = bright_squares(0)
    wide = replace(
        clip,
        images=np.pad(clip.images, ((0, 0), (32, 0), (64, 0), (0, 0))),
        truth=np.pad(clip.truth, ((0, 0), (16, 0), (32, 0))),
        maps=np.pad(clip.maps, ((0, 0), (0, 0), (0, 0), (16, 0), (32, 0))),
    )
    (seen,) = with_tokens(tmp_path, [wide], token_source(dust3r, "cpu"), no_progress)
    batch = random_batch([seen], 3, np.random.default_rng(0))
    assert len(batch.tokens) == 3
    for at, tokens in enumerate(batch.tokens):
        assert tokens.size == (320, 224) and tokens.part is not None
        left, top, *size = (x // 2 for x in tokens.part)
        assert size == [batches.CROP[1] // 2, batches.CROP[0] // 2]
        crop = slice(top, top + size[1]), slice(left, left + size[0])
        assert any(np.array_equal(batch.truth[at] * 255, frame[crop]) for frame in seen.truth)
    assert whole_frame(seen, 1).tokens[0].part is None
    assert random_batch([wide], 3, np.random.default_rng(0)).tokens == ()


def d2mif_file(folder: Path, backbone: Backbone) -> Path:
    """Random weights that read the tokens of a backbone."""
    torch.manual_seed(0)
    network = D2mif(reading(SMALL, backbone.name, token_source(backbone, "cpu")))
    save_weights(folder / "w.safetensors", network, Calibration())
    return folder / "w.safetensors"


def run_config(folder: Path, *weights: str) -> RunConfig:
    made = make_scene(4, (128, 96), seed=3, plain_lens=True)
    return RunConfig(
        input=write_images(folder / "images", made.video.images),
        out=folder / "out",
        weights=weights,
        loop=0,
    )


def test_a_run_reads_the_tokens_that_its_weights_name(tmp_path: Path, dust3r: Backbone) -> None:
    weights = d2mif_file(tmp_path, dust3r)
    asked = run_config(tmp_path, f"d2mif={weights}", f"dust3r={dust3r.weights}")
    result = read_result(run(asked))
    assert result.run["masks"] == "d2mif" and result.is_dynamic.shape == (4, 96, 128)


def test_a_run_without_the_backbone_or_with_another_is_refused(
    tmp_path: Path, dust3r: Backbone
) -> None:
    weights = d2mif_file(tmp_path, dust3r)
    with pytest.raises(ConfigError, match="weights of dust3r are not on this machine"):
        run(run_config(tmp_path, f"d2mif={weights}"))
    other = tiny()
    with torch.no_grad():
        other.dec_norm.weight.add_(1)
    (tmp_path / "other").mkdir()
    folder = save_hub(other, tmp_path / "other", TINY_ARGUMENTS)
    with pytest.raises(ConfigError, match="tokens of other weights of dust3r than"):
        run(run_config(tmp_path, f"d2mif={weights}", f"dust3r={folder}"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "dust3r"], "weights of dust3r are not on this machine"),
        (["--backbone", "dust3r", "--weights", "none.pth"], "none.pth of dust3r are not there"),
        (["--backbone", "vggt"], "--backbone cannot be 'vggt'"),
        (["--weights", "dust3r=x.pth"], "name it with --backbone"),
        (["--backbone", "align3r", "--weights", "."], "Align3R reads the depth of single images"),
    ],
)
def test_wrong_options_of_the_training_are_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "d2mif", "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_training_from_the_command_line_names_its_backbone(
    tmp_path: Path, dust3r: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recon4d.masks.train.d2mif.clip_library",
        lambda *_: tuple(bright_squares(seed) for seed in range(10)),
    )
    out = tmp_path / "out"
    words = ["--backbone", "dust3r", "--weights", str(dust3r.weights), "--imagenet", "no"]
    words += ["--clips", "10", "--steps", "2", "--batch", "2", "--workers", "1"]
    assert main(["train", "d2mif", "--out", str(out), *words]) == 0
    config = load_weights(out / "d2mif.safetensors").network.config
    assert config.backbone == "dust3r" and config.token_channels == 16
    assert f"reads tokens of dust3r, weights with the fingerprint {config.fingerprint}" in (
        out / "d2mif.md"
    ).read_text(encoding="utf-8")
