"""The benchmark of kinds: its clips show what they are named after, and its table is made of their figures."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import worlds
from benchmarks.kinds import KINDS, frames_of
from benchmarks.kinds.places import scenery
from benchmarks.measure.common import Measured
from benchmarks.scores import one_run
from benchmarks.sets import rendered
from benchmarks.sets.rendered import Clips
from recon4d.evaluate.truth import read_true_mask
from recon4d.io.pictures.files import read_rgb
from recon4d.masks.train.worlds.clip import RenderedClip, film
from recon4d.masks.train.worlds.cutouts import Cutout, random_outline
from recon4d.masks.train.worlds.material import PROCEDURAL, Material, procedural
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from tests.mini_sets import write_image

SIZE = (96, 64)


@pytest.fixture(scope="module")
def material() -> Material:
    """Noise for photographs; blobs and figures, tall and low, for objects."""
    rng = np.random.default_rng(0)
    photographs = tuple(procedural(rng, 256)[: 160 + 32 * (k % 2)] for k in range(4))
    objects = []
    for k in range(6):
        picture = np.ascontiguousarray(procedural(rng, 96)[:, : 40 if k % 2 else 96])
        cut = random_outline(rng, picture)
        objects.append(dataclasses.replace(cut, photograph=k % 4, corner=(3, 3)))
    return Material(photographs, tuple(objects))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_directed_and_its_seed_decides_everything(
    kind: str, material: Material
) -> None:
    shots = [KINDS[kind](np.random.default_rng(3), material, SIZE) for _ in range(2)]
    assert 16 <= frames_of(shots[0]) <= 24
    first, again = (film(dataclasses.replace(s, exposure=0.0), 1, None) for s in shots)
    assert np.array_equal(first.images, again.images)
    assert (first.surface >= 0).mean() > 0.999, "there is a hole in the world"
    assert any(patch.mover >= 0 for patch in shots[0].patches)


def test_walls_show_no_object_that_stands_out(material: Material) -> None:
    photograph = np.full((200, 260, 3), 90, np.uint8)
    photograph[60:120, 80:140] = (250, 20, 20)
    cut = Cutout(photograph[60:120, 80:140].copy(), np.ones((60, 60), np.float32), 0, (80, 60))
    drawn = (material.photographs[0],) * PROCEDURAL
    shown = scenery(Material((photograph, photograph, *drawn), (cut,)))
    assert len(shown.photographs) == 2, "nor what is drawn"
    assert shown.photographs[0][..., 0].max() < 150 and shown.cutouts == (cut,)
    assert np.array_equal(shown.photographs[1], photograph)


def test_a_zoom_is_that_of_the_shot(material: Material) -> None:
    shot = KINDS["pan-zoom"](np.random.default_rng(0), material, SIZE)
    assert shot.zoom is not None
    focal = [shot.view(frame, SIZE[1] / 2).intrinsics for frame in (0, frames_of(shot) - 1)]
    ratio = max(focal[1][0] / focal[0][0], focal[0][0] / focal[1][0])
    assert 1.3 <= ratio <= 1.9 and np.array_equal(focal[0][2:], focal[1][2:])


def test_a_follow_shot_keeps_what_it_follows_in_the_picture(material: Material) -> None:
    shot = KINDS["follow-shot"](np.random.default_rng(1), material, SIZE)
    parts = [patch for patch in shot.patches if patch.mover == 0]
    columns = []
    for frame in range(frames_of(shot)):
        view = shot.view(frame, SIZE[1] / 2)
        at = np.stack([view.matrix(part) @ (0.5, 0.5, 1.0) for part in parts])
        columns.append(float((at[:, 0] / at[:, 2]).mean()) / SIZE[0])
    assert np.ptp(columns) < 0.2 and 0.1 < np.mean(columns) < 0.9


def test_one_twin_moves_and_the_others_look_like_it(material: Material) -> None:
    shot = KINDS["twins"](np.random.default_rng(2), material, SIZE)
    goes = next(patch for patch in shot.patches if patch.mover >= 0 and not patch.is_shade)
    alike = [p for p in shot.patches if p.picture is goes.picture and not p.is_shade]
    assert {p.mover for p in alike} == {goes.mover, -1}
    assert len([p for p in alike if p.mover < 0]) >= 2
    assert all(p.moved is None for p in alike if p.mover < 0)


class Runs:
    """In place of `recon4d run`: results with the true masks, moved aside where the kind is `far`."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> Measured:
        self.commands.append(list(command))
        words = list(command)
        clip, out = (
            Path(words[words.index("run") + 1]).parent,
            Path(words[words.index("--out") + 1]),
        )
        if "thin" in clip.name:
            return Measured(2, 1.0, 100.0, f"recon4d: error: {clip} has nothing to track")
        images = np.stack([read_rgb(path) for path in sorted((clip / "rgb").iterdir())])
        masks = np.stack([read_true_mask(path) for path in sorted((clip / "mask").iterdir())])
        if "far" in clip.name:
            masks = np.roll(masks, SIZE[0] // 2, axis=2)
        write_result(result_of(images, masks), out)
        return Measured(0, 2.0, 200.0, "")


def result_of(images: np.ndarray, masks: np.ndarray) -> Reconstruction:
    count = len(images)
    return Reconstruction(
        world_from_cam=np.tile(np.eye(4), (count, 1, 1)),
        intrinsics=np.tile((80.0, 80.0, 48.0, 32.0), (count, 1)),
        timestamps_s=np.arange(count) / 30,
        sources=tuple(f"{frame:04d}.png" for frame in range(count)),
        images=images,
        depth=np.ones(masks.shape, np.float32),
        confidence=np.full(masks.shape, 255, np.uint8),
        is_dynamic=masks,
        is_metric=False,
        run={"frames": count, "posed": count, "warnings": [], "motion": {"kind": "moving"}},
    )


@pytest.fixture
def runs(material: Material, monkeypatch: pytest.MonkeyPatch) -> Runs:
    def tiny(kind: str, index: int, material: Material) -> RenderedClip:
        shot = KINDS[kind](np.random.default_rng(index), material, SIZE)
        clip = film(dataclasses.replace(shot, exposure=0.0, readout=0.0), 3, None)
        masks = np.zeros_like(clip.is_dynamic)
        masks[:, 20:50, 10:30] = True
        return dataclasses.replace(clip, is_dynamic=masks)

    monkeypatch.setattr(rendered, "make_clip", tiny)
    monkeypatch.setattr(rendered, "load_material", lambda folders: material)
    found = Runs()
    monkeypatch.setattr(one_run, "measure", found)
    return found


def test_the_table_has_a_line_per_kind_and_lost_clips_count_as_zero(
    runs: Runs, tmp_path: Path
) -> None:
    (tmp_path / "photographs").mkdir()
    write_image(tmp_path / "photographs/a.png", np.zeros((8, 8, 3), np.uint8))
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"weights")
    words = ["--kinds", "pan", "far", "thin", "--clips", "2", "--jobs", "2"]
    words += ["--textures", str(tmp_path / "photographs"), "--rendered", str(tmp_path / "clips")]
    words += ["--out", str(tmp_path / "page.md"), "--weights", str(weights), "--refine", "none"]
    worlds.main(words)
    stored = json.loads((tmp_path / "page.json").read_text())["rows"]
    assert list(stored) == [f"{kind}-{k}" for kind in ("pan", "far", "thin") for k in (0, 1)]
    assert stored["pan-0"]["jaccard"] == 1 and stored["pan-0"]["false"] == 0
    assert stored["far-1"]["jaccard"] == 0 and 0 < stored["far-1"]["false"] < 0.2
    page = (tmp_path / "page.md").read_text()
    assert "| pan | 2 | 1.000 | 1.000 | 1.000 |" in page
    assert "| thin | 2 | 0.000 | 0.000 | 0.000 | - | - | 0.000 |" in page
    assert "| **mean of 3 kinds** | 6 | 0.333 |" in page and "nothing to track" in page
    assert str(tmp_path) not in page + (tmp_path / "page.json").read_text()
    for command in runs.commands:
        assert f"d2mif={weights}" in command and "--workers" in command
        assert "--refine none --seed 0" in " ".join(command)

    made = (tmp_path / "clips/pan-0/rgb/0000.png").stat().st_mtime_ns
    count = len(runs.commands)
    worlds.main([*words, "--resume"])
    assert len(runs.commands) == count + 2, "only what failed is run again"
    assert (tmp_path / "clips/pan-0/rgb/0000.png").stat().st_mtime_ns == made
    weights.write_bytes(b"others")
    with pytest.raises(SystemExit, match="results of other settings"):
        worlds.main([*words, "--resume"])


def test_clips_are_made_again_when_their_photographs_have_changed(
    runs: Runs, tmp_path: Path
) -> None:
    photograph = tmp_path / "photographs/a.png"
    photograph.parent.mkdir()
    write_image(photograph, np.zeros((8, 8, 3), np.uint8))
    place = Clips(tmp_path / "clips", photograph.parent).clip("pan", 0)
    (place / "rgb/0000.png").unlink()
    assert Clips(tmp_path / "clips", photograph.parent).clip("pan", 0) == place
    assert not (place / "rgb/0000.png").exists(), "what is there is used"
    write_image(photograph, np.ones((8, 8, 3), np.uint8))
    Clips(tmp_path / "clips", photograph.parent).clip("pan", 0)
    assert (place / "rgb/0000.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "3"], "--seed is the benchmark's own"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors is missing"),
        (["--siez", "3"], "there is no option --siez"),
    ],
)
def test_what_would_fail_everywhere_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=said):
        worlds.main([*words, "--out", str(tmp_path / "page.md")])
    assert not list(tmp_path.iterdir())
