"""Damaged files of every kind through the real command: never a traceback, never a hang, nothing left behind.

Seeded by `RECON4D_FUZZ_SEED` (0): other seeds are other variants of the same kinds.
"""

import dataclasses
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from recon4d import cli
from recon4d.masks.d2mif.weights import SHIPPED
from tests.media import textured_frames, write_images, write_tum_folder, write_video
from tests.test_run_refused import listing, small_result

SEED = int(os.environ.get("RECON4D_FUZZ_SEED", "0"))
VARIANTS = 150
"""In all, spread over the kinds below; as many others are slow."""
LONGEST_S = 20
"""A variant that takes longer hangs: the slowest good one is a run of two frames, a second."""
ALLOWED = (0, 2)
K = "100,100,63.5,47.5"


@dataclass(frozen=True)
class Kind:
    """A file that is damaged, and the commands that read it."""

    file: str
    """Below the folder of the sound files; a folder: one of the files in it."""
    commands: tuple[tuple[str, ...], ...]


RUN = ("--out", "made", "--masks", "none", "--loop", "0", "--max-frames", "2", "--size", "128")
WEIGHTS = ("--intrinsics", K, "--weights", "d2mif=d2mif.safetensors")
KINDS = (
    *(Kind(f"in.{end}", (("info", f"in.{end}"),)) for end in ("mp4", "mkv", "avi")),
    Kind("in.mp4", (("run", "in.mp4", *RUN, "--intrinsics", K),)),
    Kind("images", (("run", "images", *RUN, "--intrinsics", K), ("info", "images"))),
    Kind("rgbd/rgb.txt", (("info", "rgbd"),)),
    Kind("rgbd/depth.txt", (("run", "rgbd", *RUN, "--geometry", "rgbd", "--intrinsics", K),)),
    Kind("rgbd/depth", (("run", "rgbd", *RUN, "--geometry", "rgbd", "--intrinsics", K),)),
    Kind("k.txt", (("run", "images", *RUN, "--intrinsics", "k.txt"),)),
    Kind("cameras.txt", (("run", "images", *RUN, "--intrinsics", "cameras.txt"),)),
    Kind("poses.txt", (("run", "images", *RUN, "--intrinsics", K, "--poses", "poses.txt"),)),
    Kind("poses.txt", (("eval", "poses.txt", "--gt", "truth.txt"),)),
    Kind("masks", (("run", "images", *RUN[:2], "--masks", "masks", *RUN[4:], "--intrinsics", K),)),
    Kind("config.toml", (("run", "--config", "config.toml", "--out", "made"),)),
    *(
        Kind(
            f"result/{name}",
            (
                ("info", "result"),
                ("eval", "result", "--gt", "truth.txt"),
                ("export", "result", "--to", "nerfstudio", "--out", "made"),
                ("export", "result", "--to", "ply", "--out", "made"),
                ("view", "result", "--png", "made.png"),
            ),
        )
        for name in (
            "run.json",
            "frames.txt",
            "poses.txt",
            "intrinsics.txt",
            "images",
            "depth",
            "confidence",
            "masks",
            "pose_covariance.npy",
            "overlay.png",
            "config.toml",
        )
    ),
    Kind("d2mif.safetensors", (("info", "d2mif.safetensors"),)),
    Kind("d2mif.safetensors", (("run", "images", *RUN[:2], *RUN[4:], *WEIGHTS),)),
)  # fmt: skip

COMMANDS = sorted({command for kind in KINDS for command in kind.commands})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole file of every kind."""
    folder = tmp_path_factory.mktemp("sound")
    frames = textured_frames(3)
    for end, codec in (("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4")):
        write_video(folder / f"in.{end}", frames, codec=codec)
    write_images(folder / "images", frames)
    write_tum_folder(folder / "rgbd", frames, np.full((3, 96, 128), 2.0), [0.0, 0.1, 0.2])
    write_images(folder / "masks", np.zeros((3, 96, 128), np.uint8))
    (folder / "k.txt").write_text("100 100 63.5 47.5 0.01 0 0 0\n")
    (folder / "cameras.txt").write_text("# cameras\n1 OPENCV 128 96 100 100 64 48 0.01 0 0 0\n")
    lines = "".join(f"{index / 30:.6f} {index} 0 0 0 0 0 1\n" for index in range(3))
    for name in ("poses.txt", "truth.txt"):
        (folder / name).write_text(lines)
    config = f'input = "images"\nintrinsics = "{K}"\nmasks = "none"\nmax_frames = 2\nsize = 128\nloop = 0\n'
    (folder / "config.toml").write_text(config)
    small = small_result()
    covered = np.eye(96, 128) > 0
    dataclasses.replace(small, overlay=covered).save(folder / "result")
    np.save(folder / "result/pose_covariance.npy", np.zeros((2, 6, 6)))
    shutil.copy(SHIPPED, folder / "d2mif.safetensors")
    return folder


def removed(*paths: Path) -> None:
    """Take away what a command made."""
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_sound_files_are_taken(
    command: tuple[str, ...],
    sound: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else the damaged ones would be refused for another reason than their damage."""
    monkeypatch.chdir(sound)
    assert cli.main(command) == 0, capsys.readouterr().err
    removed(sound / "made", sound / "made.png")


def variant(data: bytes, chance: random.Random) -> bytes:
    """One damaged copy of a file."""
    if not data:
        return b"\0"
    at = chance.randrange(len(data))
    some = chance.randrange(1, 9)
    noise = bytes(chance.randrange(256) for _ in range(some))
    number = chance.choice(
        (b"nan", b"-1", b"1e999", b"inf", b"0", b"99999999999", b'"', b"{}", b"[", b"\n")
    )
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: data[:at],
        lambda: data[:at] + noise + data[at + some :],
        lambda: data[:at] + noise + data[at:],
        lambda: data[:at] + data[at + some :],
        lambda: data[:at] + bytes(64) + data[at + 64 :],
        lambda: data[:at] + data[: at + some] + data[at:],
        lambda: _some_word(data, number, chance),
        lambda: _some_word(data, number, chance),
        lambda: noise * 40,
        lambda: b"",
    )  # fmt: skip
    return chance.choice(ways)()


def _some_word(data: bytes, word: bytes, chance: random.Random) -> bytes:
    """Another word in the place of one; near the start, where headers are."""
    words = data[:2000].split(b" ")
    words[chance.randrange(len(words))] = word
    return b" ".join(words) + data[2000:]


@contextmanager
def within(seconds: int, what: str) -> Iterator[None]:
    """Fail what takes too long."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{what} takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("more", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind", range(len(KINDS)), ids=[f"{k.file} {k.commands[0][0]}" for k in KINDS]
)
def test_damaged_files_are_refused_or_read_and_nothing_is_left(
    kind: int,
    more: int,
    sound: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(f"{SEED + more} {kind}")
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    chosen = KINDS[kind]
    target = tmp_path / chosen.file
    if target.is_dir():
        target = sorted(target.iterdir())[chance.randrange(2)]
    whole = target.read_bytes()
    for number in range(VARIANTS // len(KINDS) + 1):
        damaged = variant(whole, chance)
        target.write_bytes(damaged)
        command = chosen.commands[number % len(chosen.commands)]
        before = listing(tmp_path)
        with within(LONGEST_S, f"{' '.join(command)} with {target.name} = {damaged[:200]!r}"):
            code = cli.main(command)
        said = capsys.readouterr()
        assert code in ALLOWED, said.err
        if code == 0:
            removed(tmp_path / "made", tmp_path / "made.png")
        else:
            assert said.err.count("recon4d: error: ") == 1, said.err
        assert listing(tmp_path) == before, f"{command} left something"
