"""What each kind of evidence gives D2MIF: `python -m benchmarks.ablation --training DIR`.

Networks with some of the branches are each trained alone, with the same small budget and several seeds, on the clips of
an earlier `recon4d train d2mif --out DIR`, and compared on the masks of the test sequences' first frames: from the same
flow and the same geometry (after one round with residual masks), refined by edges, as a run would write them.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from benchmarks.measure.command import command_line
from benchmarks.measure.common import (
    DEFAULT_ROOT,
    PAGES,
    PROJECT,
    commit,
    fill,
    machine,
    markdown_table,
    today,
    write_whole,
)
from recon4d import masks
from recon4d.core.parallel import one_torch_thread
from recon4d.core.progress import no_progress
from recon4d.core.scene import Scene
from recon4d.core.stages import run_stage
from recon4d.evaluate.masks import jaccard
from recon4d.io.pictures.files import read_image, write_image
from recon4d.io.resize import resize_nearest
from recon4d.masks.d2mif.config import LIGHT
from recon4d.masks.d2mif.weights import save_weights
from recon4d.masks.train.d2mif import HELD_OUT, imagenet_weights
from recon4d.masks.train.d2mif.calibrate import calibrate
from recon4d.masks.train.d2mif.fit import FitOptions, fit, validate
from recon4d.masks.train.d2mif.library import stored_clips
from recon4d.optim.align import optimise
from recon4d.run.methods import Methods
from recon4d.run.options import align_options
from recon4d.run.reconstruct import observe, read_stage
from recon4d.settings.config import RunConfig
from recon4d.weights.resolve import Resources

DAVIS = ("camel", "car-shadow", "dog", "parkour")
PASTED = ("exact_dancer", "exact_crowd", "exact_heavy", "kitchen_crowd")
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "3D": ("geometry",),
    "2D (appearance + motion)": ("appearance", "motion"),
    "3D + appearance": ("geometry", "appearance"),
    "3D + motion": ("geometry", "motion"),
    "all": ("geometry", "appearance", "motion"),
    "all, image encoder from random weights": ("geometry", "appearance", "motion"),
}
WIDTH, LABELS, HEADER, BAR_ROW = 900, 330, 40, 48
"""Layout of the figure, pixels; set by hand, as are its colours."""
DARK_BLUE, LIGHT_BLUE = (46, 82, 120), (150, 190, 220)
"""RGB of the bars."""


@dataclass(frozen=True)
class Budget:
    """The same for every variant."""

    training: Path
    steps: int
    batch: int
    threads: int
    frames: int
    """First frames of every test sequence that are looked at."""


def train_variant(name: str, seed: int, budget: Budget, weights: Path) -> dict[str, float]:
    """Train one variant; write its weights; return its figures on the clips that were held out."""
    clips = stored_clips(budget.training / "clips")
    held_out = clips[HELD_OUT - 1 :: HELD_OUT]
    train = tuple(c for at, c in enumerate(clips) if at % HELD_OUT != HELD_OUT - 1)
    options = FitOptions(
        network=replace(LIGHT, branches=VARIANTS[name]),
        steps=budget.steps,
        batch=budget.batch,
        seed=seed,
        save_every=budget.steps,
        validate_every=budget.steps,
    )
    pretrained = "appearance" in options.network.branches and "random" not in name
    before = torch.get_num_threads()
    torch.set_num_threads(budget.threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            start = imagenet_weights() if pretrained else None
            network = fit(Path(folder), train, held_out, options, start, no_progress)
        save_weights(weights, network, calibrate(network, held_out))
        return vars(validate(network, held_out))
    finally:
        torch.set_num_threads(before)


def score(weights: Path, source: Path, truth: Path, work: Path, budget: Budget) -> float:
    """Mean J of one sequence's first frames; flow and geometry are computed once and kept in `work`."""
    config = RunConfig(
        input=source, masks="residual", workers=budget.threads, max_frames=budget.frames
    )
    with one_torch_thread():
        video = read_stage(config, work, no_progress)
        seen, scene = observe(config, Methods.of(config), work, video, no_progress)
        method = masks.method("d2mif", Resources({"d2mif": weights}))
        assert method.features is not None
        with tempfile.TemporaryDirectory() as folder:
            seen = replace(seen, features=method.features(seen, Path(folder)))
            motion = method.masks(seen, _after_one_round(seen, scene, config, work))
        found = masks.refiner("edges")(seen, motion, False).is_dynamic
    values = []
    for stem, mask in zip(seen.video.sources, found, strict=True):
        path = truth / f"{Path(stem).stem}.png"
        if path.is_file():
            true = read_image(path, cv2.IMREAD_GRAYSCALE) > 0
            size = true.shape[1], true.shape[0]
            large = resize_nearest(mask.astype(np.uint8), size)
            values.append(jaccard(large > 0, true))
    return float(np.mean(values))


def _after_one_round(seen: masks.Seen, scene: Scene, config: RunConfig, work: Path) -> Scene:
    def compute(_: Path) -> Scene:
        motion = masks.method("residual").masks(seen, scene)
        options = align_options(config)
        return optimise(seen.video, seen.flow, scene, motion, options, no_progress)

    return run_stage(work, "after_one_round", Scene, compute)


def report(rows: Mapping[str, Mapping[str, Any]], budget: str) -> str:
    """Return the page: mean and spread over the seeds."""
    header = ("evidence", "seeds", *DAVIS, "DAVIS mean", *PASTED, "pasted mean", "held-out IoU")
    lines = []
    for name in VARIANTS:
        found = [row for row in rows.values() if row["variant"] == name]
        if not found:
            continue
        columns = [[row["jaccard"][clip] for row in found] for clip in (*DAVIS, *PASTED)]
        means = np.array(columns)
        davis, pasted = means[: len(DAVIS)].mean(0), means[len(DAVIS) :].mean(0)
        held_out = [row["held_out"]["iou"] for row in found]
        cells = [
            *columns[: len(DAVIS)],
            davis,
            *columns[len(DAVIS) :],
            pasted,
            held_out,
        ]
        lines.append((name, str(len(found)), *(_spread(cell) for cell in cells)))
    text = (
        "# What each kind of evidence gives D2MIF\n\n"
        f"`python -m benchmarks.ablation`, commit {commit()}, {today()}, {machine()}. Every network was trained alone, "
        f"{budget}. J of the masks after refinement by edges, from the same flow and geometry: mean over the seeds, "
        "and half the distance of the largest and the smallest.\n\n"
    )
    return text + markdown_table(header, lines)


def figure(rows: Mapping[str, Mapping[str, Any]]) -> UInt8[np.ndarray, "height width 3"]:
    """Bars of the mean J on both sets per kind of evidence, with the spread over the seeds."""
    names = [n for n in VARIANTS if any(row["variant"] == n for row in rows.values())]
    picture = np.full((BAR_ROW * len(names) + HEADER, WIDTH, 3), 255, np.uint8)
    _write(picture, "mean J: DAVIS (dark), pasted movers (light)", (LABELS, HEADER - 14))
    for at, name in enumerate(names):
        top = HEADER + at * BAR_ROW
        _write(picture, name, (8, top + BAR_ROW // 2 + 6))
        for k, (clips, colour) in enumerate(((DAVIS, DARK_BLUE), (PASTED, LIGHT_BLUE))):
            means = [
                float(np.mean([row["jaccard"][clip] for clip in clips]))
                for row in rows.values()
                if row["variant"] == name
            ]
            _bar(picture, means, (top + 6 + k * 18, colour))
    return picture


def _bar(
    picture: UInt8[np.ndarray, "height width 3"],
    means: Sequence[float],
    how: tuple[int, tuple[int, int, int]],
) -> None:
    top, colour = how
    scale = WIDTH - LABELS - 70
    end, low, high = (LABELS + int(v * scale) for v in (np.mean(means), min(means), max(means)))
    cv2.rectangle(picture, (LABELS, top), (end, top + 14), colour, -1)
    cv2.line(picture, (low, top + 7), (high, top + 7), (0, 0, 0), 2)
    _write(picture, f"{np.mean(means):.3f}", (high + 8, top + 13))


def _write(picture: UInt8[np.ndarray, "height width 3"], text: str, place: tuple[int, int]) -> None:
    cv2.putText(picture, text, place, (20, 20, 20), cv2.FontFace("sans"), 16, 400)


def _spread(values: Sequence[float]) -> str:
    half = (max(values) - min(values)) / 2
    return f"{np.mean(values):.3f} ± {half:.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Train and score what is missing, and write the page."""
    parser = command_line(
        "ablation",
        __doc__,
        root=DEFAULT_ROOT,
        steps=200,
        batch=8,
        seeds=(0, 1),
        threads=2,
        out=PAGES / "ablation.json",
        figure=PROJECT / "docs/ablation.png",
    )
    parser.add_argument("--frames", type=int, default=40, help="of every test sequence")
    parser.add_argument("--training", type=Path, required=True, metavar="DIR")
    parser.add_argument("--work", type=Path, required=True, help="flow and geometry are kept here")
    arguments = parser.parse_args(argv)
    budget = Budget(
        arguments.training, arguments.steps, arguments.batch, arguments.threads, arguments.frames
    )
    said = (
        f"{budget.steps} steps of {budget.batch} crops, seeds {', '.join(map(str, arguments.seeds))}; "
        f"the first {budget.frames} frames of every sequence"
    )
    work = {
        f"{name}, seed {seed}, {budget.steps} steps": partial(
            _row, name, seed, budget, arguments.root, arguments.work
        )
        for seed in arguments.seeds
        for name in VARIANTS
    }
    rows = fill(arguments.out, work)
    write_whole(arguments.out.with_suffix(".md"), report(rows, said))
    write_image(arguments.figure, np.ascontiguousarray(figure(rows)[..., ::-1]))
    print(report(rows, said))


def _row(name: str, seed: int, budget: Budget, root: Path, work: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "d2mif.safetensors"
        held_out = train_variant(name, seed, budget, weights)
        found = {}
        for clip in (*DAVIS, *PASTED):
            source, truth = root / clip, root / clip / "mask"
            if clip in DAVIS:
                source = root / "davis2016/JPEGImages/480p" / clip
                truth = root / "davis2016/Annotations/480p" / clip
            found[clip] = score(weights, source, truth, work / clip, budget)
    return {"variant": name, "seed": seed, "held_out": held_out, "jaccard": found}


if __name__ == "__main__":
    main()
