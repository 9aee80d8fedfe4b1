"""Rendered clips of kinds on disk: frames and true masks, made once for all that is measured on them."""

import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

import benchmarks.kinds
import recon4d.masks.train.worlds
from benchmarks.kinds import make_clip
from benchmarks.kinds.places import scenery
from recon4d.io.pictures.files import write_image
from recon4d.masks.train.worlds.clip import RenderedClip
from recon4d.masks.train.worlds.material import Material, find_photographs, load_material

MARK = "made.json"
"""Inside the folder of a clip: what it was made from."""
GENERATORS = (benchmarks.kinds, recon4d.masks.train.worlds)
"""Packages whose source text decides how clips look."""


@dataclass(frozen=True)
class Clips:
    """A folder of clips; each is made when it is asked for, and again when what makes it has changed."""

    folder: Path
    textures: Path
    """Photographs, for walls and for the objects that are cut out of them."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def material(self) -> Material:
        """Photographs and objects; cutting out takes a minute."""
        return scenery(load_material((self.textures,)))

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that the clips follow from."""
        sources = [p for package in GENERATORS for p in _sources(package.__path__)]
        return _digest((*sources, *find_photographs((self.textures,))))

    def clip(self, kind: str, index: int) -> Path:
        """The folder of a clip: `rgb/` and `mask/` with one PNG per frame."""
        place, wanted = self.folder / f"{kind}-{index}", {"made from": self.fingerprint}
        mark = place / MARK
        if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == wanted:
            return place
        with self.lock:  # the first one to come cuts the objects out
            material = self.material
        clip = make_clip(kind, index, material)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as aside:
            made = Path(aside) / "clip"
            write_clip(clip, made)
            (made / MARK).write_text(json.dumps(wanted), encoding="utf-8")
            if place.exists():
                shutil.rmtree(place)
            made.rename(place)
        return place


def write_clip(clip: RenderedClip, folder: Path) -> None:
    """Write frames and true masks."""
    for name in ("rgb", "mask"):
        (folder / name).mkdir(parents=True)
    for frame, (image, moving) in enumerate(zip(clip.images, clip.is_dynamic, strict=True)):
        write_image(folder / f"rgb/{frame:04d}.png", np.ascontiguousarray(image[..., ::-1]))
        write_image(folder / f"mask/{frame:04d}.png", moving.astype(np.uint8) * np.uint8(255))


def _sources(folders: Iterable[str]) -> list[Path]:
    return sorted(path for folder in folders for path in Path(folder).glob("*.py"))


def _digest(paths: Iterable[Path]) -> str:
    """Of the names and the bytes of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()
