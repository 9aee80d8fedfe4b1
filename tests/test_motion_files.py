"""`tracks.npz`, `objects/`, `objects.json` and `scene_flow/`: what is written is read, and damage is named."""

import dataclasses
import errno
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import recon4d
from recon4d.core.errors import InputError
from recon4d.io.files import publish_entries
from recon4d.results.folder import write_motion, write_result
from recon4d.results.motion_files import OBJECTS, OBJECTS_JSON, SCENE_FLOW, TRACKS
from recon4d.results.palette import PALETTE, ids_of
from tests.tampered import tiny_result


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A small result with all of it."""
    write_result(tiny_result(), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_what_is_written_is_read(tiny: Path) -> None:
    whole, found = tiny_result(), recon4d.load(tiny)
    for name in ("tracks", "objects"):
        for each in dataclasses.fields(getattr(whole, name)):
            one, other = (getattr(getattr(r, name), each.name) for r in (whole, found))
            if isinstance(one, np.ndarray):
                np.testing.assert_allclose(one, other, atol=1e-6)
                assert one.dtype == other.dtype
            else:
                assert one == other
    assert whole.scene_flow is not None
    np.testing.assert_array_equal(whole.scene_flow, found.scene_flow)


def test_results_without_motion_have_none(tmp_path: Path) -> None:
    plain = dataclasses.replace(tiny_result(), tracks=None, objects=None, scene_flow=None)
    write_result(plain, tmp_path / "plain")
    found = recon4d.load(tmp_path / "plain")
    assert found.tracks is None and found.objects is None and found.scene_flow is None


def test_pictures_of_ids_have_a_palette_in_which_no_colour_is_twice(tiny: Path) -> None:
    assert len(np.unique(PALETTE, axis=0)) == 256 and not PALETTE[0].any()
    shown = cv2.imread(str(tiny / "objects/000001.png"))
    assert shown is not None
    ids = ids_of(shown)
    assert ids is not None
    np.testing.assert_array_equal(shown[..., ::-1], PALETTE[ids])


def test_chosen_frames_keep_their_tracks() -> None:
    tracks = tiny_result().tracks
    assert tracks is not None
    some = tracks.of([1, 2])
    assert some.uv.shape[0] == 2 and some.start.tolist() == [0, 1]


def _npz(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with np.load(folder / "tracks.npz") as stored:
            values = dict(stored)
        change(values)
        np.savez(folder / "tracks.npz", **values)

    return damage


def _json(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "objects.json").read_text())
        change(content["objects"][0])
        (folder / "objects.json").write_text(json.dumps(content))

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no zip": lambda f: (f / "tracks.npz").write_bytes(b"tracks"),
    "empty": lambda f: (f / "tracks.npz").write_bytes(b""),
    "array gone": _npz(lambda v: v.pop("uv")),
    "other frames": _npz(lambda v: v.update(uv=v["uv"][1:])),
    "other kind": _npz(lambda v: v.update(uv=v["uv"].astype(np.float64))),
    "objects inside": _npz(lambda v: v.update(uv=np.array([{}], object))),
    "no frame": _npz(lambda v: v.update(start=v["start"] + 99)),
    "negative sigma": _npz(lambda v: v["sigma"].fill(-1)),
    "infinite": _npz(lambda v: v["world"].fill(np.inf)),
    "no JSON": lambda f: (f / "objects.json").write_text("{"),
    "list": lambda f: (f / "objects.json").write_text("[]"),
    "enormous": lambda f: (f / "objects.json").write_text('{"objects": [{"id": 1e999}]}'),
    "nan": lambda f: (f / "objects.json").write_text('{"objects": [{"id": NaN}]}'),
    "no id": _json(lambda each: each.pop("id")),
    "id too large": _json(lambda each: each.update(id=256)),
    "another id": _json(lambda each: each.update(id=77)),
    "frame beyond": _json(lambda each: each.update(frames=[99])),
    "picture gone": lambda f: (f / "objects/000001.png").unlink(),
    "picture cut": lambda f: (f / "objects/000001.png").write_bytes(b"\x89PNG"),
    "flow gone": lambda f: (f / "scene_flow/000001.npy").unlink(),
    "flow of one more": lambda f: np.save(f / "scene_flow/000009.npy", np.zeros(3)),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_files_are_refused_by_name(kind: str, tiny: Path) -> None:
    DAMAGES[kind](tiny)
    with pytest.raises(InputError, match="damaged"):
        recon4d.load(tiny)


@pytest.mark.parametrize("stop", range(1, 9))
def test_motion_is_replaced_as_a_whole(
    stop: int, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two moves leaves no mixture, and a move that fails leaves what was there."""
    rename, moves = os.rename, itertools.count(1)
    fresh, aside = tiny.parent / "fresh", tiny.parent / "aside"
    fresh.mkdir()
    aside.mkdir()
    write_motion(recon4d.load(tiny), fresh)
    before, seen = _stamps(tiny), []

    def counted(old: Path, new: Path) -> None:
        seen.append(_stamps(tiny))
        assert recon4d.load(tiny).objects is None or "objects" in seen[-1]  # readable in between
        if next(moves) == stop:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(old, new)

    monkeypatch.setattr(os, "rename", counted)
    with pytest.raises(OSError, match="No space left"):
        publish_entries(fresh, tiny, aside)
    assert len(before) == 4 and _stamps(tiny) == before
    assert all(len({before[name] == there[name] for name in there}) < 2 for there in seen)
    publish_entries(fresh, tiny, aside)
    assert not set(before.values()) & set(_stamps(tiny).values())


def _stamps(folder: Path) -> dict[str, int]:
    """Which files and folders of motion a result has, told from others of their names."""
    there = (folder / name for name in (TRACKS, OBJECTS, OBJECTS_JSON, SCENE_FLOW))
    return {path.name: path.stat().st_ino for path in there if path.exists()}
