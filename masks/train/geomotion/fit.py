"""How GeoMotion is trained: pi3 stays as it is, fusion and motion decoder learn.

Numbers here that name no source were set by hand.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recon4d.core.errors import ConfigError, DivergedError
from recon4d.core.progress import Progress
from recon4d.masks.geomotion import half_on_cuda, network_input
from recon4d.masks.geomotion.network import (
    FUSION,
    GeoMotion,
    GeoMotionConfig,
    MotionFusion,
    geomotion_of,
)
from recon4d.masks.train.d2mif.loss import dice_loss, focal_loss
from recon4d.masks.train.geomotion.clips import Clips, MotionClip
from recon4d.masks.train.loop import Loop
from recon4d.networks.pi3.config import config_of
from recon4d.weights.files import WeightsFile, read_weights

SAVE_EVERY = 50
"""Steps between two saved states."""
EPOCHS = 20
"""Times that each clip is seen where the number of steps is not given (the published code; its paper says 15)."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss: the paper's; the published code has 0, 1 and 1."""

    focal: float = 0.5
    dice: float = 0.5
    bce: float = 0.0

    def __post_init__(self) -> None:
        if not self.focal + self.dice + self.bce > 0:
            raise ConfigError("all weights of the loss are 0; give one of them above 0")


@dataclass(frozen=True, kw_only=True)
class MotionFit:
    """How the weights are found."""

    steps: int | None = None
    """Of one clip each; None: `EPOCHS` times their number."""
    rate: float = 5e-5
    """Of Adam (the paper and its code)."""
    loss: LossWeights = field(default_factory=LossWeights)
    seed: int = 0
    device: str = "cpu"


@dataclass
class Progressed:
    """How far a training is."""

    losses: list[float] = field(default_factory=list)
    """Of every step."""
    scores: list[tuple[int, float]] = field(default_factory=list)
    """(steps, IoU on the clips that are held out)."""
    best: dict[str, Tensor] | None = None
    """Trained weights with the best of these scores."""


def start_network(path: Path, seed: int) -> GeoMotion:
    """The network at the beginning: pi3 with a fusion at random, or a GeoMotion as it is.

    Its motion decoder then is pi3's confidence decoder.

    Raises:
        ConfigError: The checkpoint cannot be read, or is of neither.
    """
    weights = read_weights(path)
    if FUSION not in weights.tensors:
        config = GeoMotionConfig(config_of(weights.tensors))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fusion = MotionFusion(config).state_dict()
        added = {f"motion_aware_decoder.{name}": value for name, value in fusion.items()}
        weights = WeightsFile(path, {**weights.tensors, **added})
    return geomotion_of(weights)


def fit_motion(
    folder: Path, network: GeoMotion, clips: Clips, options: MotionFit, progress: Progress
) -> Progressed:
    """Train in place, going on from the last saved state in `folder` where there is one.

    The weights at the end are those with the best IoU on the held-out clips, looked at once per epoch; without such
    clips, the last.

    Args:
        folder: Holds `state.pt` and `log.jsonl`.
        network: From `start_network`.
        clips: To learn from, and to choose by.
        options: How.
        progress: Told about every step.

    Raises:
        DivergedError: The loss is not finite.
    """
    network.to(options.device)
    loop = _loop(folder / "state.pt", network, len(clips.train), options)
    state = loop.resume(options.device)
    done = Progressed(state["losses"], state["scores"], state["best"]) if state else Progressed()

    def step(at: int) -> float:
        clip = clips.train[_chosen(at, len(clips.train), options.seed)]
        done.losses.append(_step(loop, network, clip, at, options))
        return done.losses[-1]

    def judge(*_: object) -> None:
        if clips.held_out:
            _judge(network, clips.held_out, done)

    def save(_: int) -> None:
        loop.save(_trained_state(network), **vars(done))
        _log(folder, done)

    steps = range(len(done.losses), options.steps or EPOCHS * len(clips.train))
    loop.run(steps, step, judge, save, progress)
    if done.best is not None:
        network.load_state_dict(done.best, strict=False)
    network.requires_grad_(False)
    return done


def motion_loss(
    logits: Float[Tensor, "labels side side"],
    truth: Float[Tensor, "labels side side"],
    weights: LossWeights,
) -> Float[Tensor, ""]:
    """Weighted sum of focal loss, dice loss and cross entropy."""
    loss = weights.focal * focal_loss(logits, truth) + weights.dice * dice_loss(logits, truth)
    if weights.bce:
        loss = loss + weights.bce * F.binary_cross_entropy_with_logits(logits, truth)
    return loss


def intersection_over_union(network: GeoMotion, clips: Sequence[MotionClip]) -> float:
    """Over the labelled frames of all clips together, at p = 1/2."""
    shared = union = 0.0
    with torch.no_grad():
        for clip in clips:
            logits, truth = predicted(network, clip)
            found, moves = logits > 0, truth > 0.5
            shared += float((found & moves).sum())
            union += float((found | moves).sum())
    return shared / max(union, 1.0)


def predicted(
    network: GeoMotion, clip: MotionClip
) -> tuple[Float[Tensor, "labels side side"], Float[Tensor, "labels side side"]]:
    """Logits of the labelled frames of a clip, and their truth; only what is trained keeps a gradient."""
    device = network.image_mean.device
    with torch.no_grad(), half_on_cuda(device):
        looked = network.look(network_input(np.asarray(clip.images), device))
    moved = torch.from_numpy(np.asarray(clip.moved_px, np.float32)).to(device)
    labelled = torch.from_numpy(np.array(clip.labelled)).to(device)
    truth = torch.from_numpy(np.asarray(clip.truth, np.float32) / 255).to(device)
    return network.motion(looked, moved)[labelled], truth


def _loop(path: Path, network: GeoMotion, clips: int, options: MotionFit) -> Loop:
    for part in network.trained:
        part.requires_grad_(True)
    learning = [p for part in network.trained for p in part.parameters()]
    return Loop(
        network=network,
        optimizer=torch.optim.Adam(learning, lr=options.rate),
        learning=learning,
        judge_every=clips,
        save_every=SAVE_EVERY,
        path=path,
        key=f"{options.steps} {options.rate} {options.loss} {options.seed}",
    )


def _step(loop: Loop, network: GeoMotion, clip: MotionClip, step: int, options: MotionFit) -> float:
    loss = motion_loss(*predicted(network, clip), options.loss)
    value = float(loss.detach())
    if not np.isfinite(value):
        raise DivergedError(
            f"the loss of GeoMotion is {value} at step {step}; give a smaller --rate, and another --out"
        )
    return loop.learn(loss)


def _chosen(step: int, clips: int, seed: int) -> int:
    """The clip of a step: every epoch has an order of its own."""
    epoch, place = divmod(step, clips)
    return int(np.random.default_rng((seed, epoch)).permutation(clips)[place])


def _judge(network: GeoMotion, held_out: Sequence[MotionClip], done: Progressed) -> None:
    score = intersection_over_union(network, held_out)
    if done.best is None or score > max(found for _, found in done.scores):
        done.best = {name: value.clone() for name, value in _trained_state(network).items()}
    done.scores.append((len(done.losses), score))


def _trained_state(network: GeoMotion) -> dict[str, Tensor]:
    """Weights that are trained, under their names in a checkpoint."""
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    return {name: value for name, value in network.state_dict().items() if name in learning}


def _log(folder: Path, done: Progressed) -> None:
    scores = dict(done.scores)
    entries = [
        {"step": step, "loss": loss} | ({"iou_held_out": scores[step]} if step in scores else {})
        for step, loss in enumerate(done.losses, start=1)
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "log.jsonl").write_text(text, encoding="utf-8")
