"""How D2MIF is trained: the loss of a step, rates, and validation on clips that are held out.

Numbers here that name no source were set by hand.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.network import D2mif
from recon4d.masks.train.d2mif.batches import Batch, random_batch, whole_frame
from recon4d.masks.train.d2mif.loss import segmentation_loss
from recon4d.masks.train.d2mif.samples import Samples
from recon4d.masks.train.loop import Loop
from recon4d.networks.lite0 import Lite0, channels_last, lite0_from_imagenet

WARM_UP = 100
"""Steps over which the learning rate rises."""
FROZEN_STAGES = 3
"""First stages of a pretrained image encoder that are not trained, to 1/8 of the image: a third of a step's time."""
BRANCH_DROPOUT = 0.1
"""Part of the steps without geometry, and part without appearance: neither may be all that counts."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How the weights are found."""

    network: NetworkConfig
    steps: int = 6000
    batch: int = 8
    rate: float = 1e-3
    """Largest learning rate of AdamW, of everything that starts at random."""
    pretrained_rate: float = 1e-4
    """The same for the image encoder when it starts from ImageNet weights."""
    decay: float = 1e-2
    """Weight decay."""
    seed: int = 0
    device: str = "cpu"
    save_every: int = 200
    """Steps between two saved states."""
    validate_every: int = 500
    """Steps between two validations."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            raise ConfigError(
                f"steps is {self.steps} and batch {self.batch}; at least 1 and 2 are needed"
            )


@dataclass(frozen=True)
class Validation:
    """How the network does on whole frames of clips that it was not trained on."""

    loss: float
    iou: float
    """Intersection over union at p = 1/2, over all frames together."""
    false_share: float
    """Part of the pixels that are wrongly called moving, in frames where nothing moves."""


@dataclass(frozen=True)
class Best:
    """The weights that did best on the held-out clips so far, after some steps of training."""

    step: int
    loss: float
    network: dict[str, Tensor]

    @classmethod
    def of(cls, step: int, found: Validation, network: D2mif) -> "Best":
        """A copy of the weights as they are."""
        return cls(step, found.loss, {key: x.clone() for key, x in network.state_dict().items()})


def fit(
    folder: Path,
    train: Sequence[Samples],
    held_out: Sequence[Samples],
    options: FitOptions,
    imagenet: Mapping[str, Tensor] | None,
    progress: Progress,
) -> D2mif:
    """Train, going on from the last saved state in `folder` where there is one.

    What comes back are the weights of the validation with the lowest loss (early stopping): few clips are soon learnt
    by heart.

    Args:
        folder: Holds `state.pt` and `log.jsonl`.
        train: Clips to learn from.
        held_out: Clips to validate on.
        options: How.
        imagenet: Weights that the image encoder starts from; random where not given.
        progress: Told about every step.
    """
    torch.manual_seed(options.seed)
    network = D2mif(options.network)
    if imagenet is not None:
        _start_from(imagenet, network)
    network.to(options.device)
    channels_last(network)
    loop = _loop(folder / "state.pt", network, options, imagenet is not None)
    state = loop.resume(options.device)
    best = Best(**state["best"]) if state.get("best") else None
    if not state:
        _log(folder, 0, None, validate(network, held_out, options.device))

    def judge(done: int, loss: float) -> None:
        nonlocal best
        found = validate(network, held_out, options.device)
        _log(folder, done, loss, found)
        if best is None or found.loss < best.loss:
            best = Best.of(done, found, network)

    def save(done: int) -> None:
        loop.save(network.state_dict(), step=done, best=None if best is None else vars(best))

    steps = range(state.get("step", 0), options.steps)
    loop.run(steps, lambda at: _step(loop, network, train, at, options), judge, save, progress)
    assert best is not None  # the last step is always validated
    network.load_state_dict(best.network)
    return network


@torch.inference_mode()
def validate(network: D2mif, clips: Sequence[Samples], device: str = "cpu") -> Validation:
    """Loss and overlap on every second frame of some clips."""
    network.eval()
    losses, shared, union, false_share = [], 0.0, 0.0, [0.0]
    for log_odds, batch in predictions(network, clips, device):
        losses.append(float(segmentation_loss(log_odds, batch.truth, batch.known)))
        found, truth = log_odds > 0, batch.truth > 0.5
        if batch.known is not None:
            found, truth = found & (batch.known > 0), truth & (batch.known > 0)
        shared += float((found & truth).sum())
        union += float((found | truth).sum())
        if not truth.any():
            false_share.append(float(found.float().mean()))
    return Validation(float(np.mean(losses)), shared / max(union, 1.0), float(np.mean(false_share)))


def predictions(
    network: D2mif, clips: Sequence[Samples], device: str = "cpu"
) -> Iterator[tuple[Tensor, Batch]]:
    """Log-odds of every second frame of some clips, and what they were found from."""
    for clip in clips:
        for frame in range(0, len(clip.images), 2):
            batch = whole_frame(clip, frame).to(device)
            yield _log_odds(network, batch), batch


def _log_odds(network: D2mif, batch: Batch, without: Sequence[str] = ()) -> Tensor:
    given = batch.image, batch.motion, batch.geometry, batch.confidence
    found: Tensor = network(*given, without, batch.tokens)
    return found


def _start_from(imagenet: Mapping[str, Tensor], network: D2mif) -> None:
    """Give the image encoder its ImageNet weights; what sees edges and textures stays as it is."""
    encoder = network.encoders["appearance"]
    assert isinstance(encoder, Lite0)
    encoder.load_state_dict(lite0_from_imagenet(imagenet))
    for part in (encoder.stem, *list(encoder.stages)[:FROZEN_STAGES]):
        part.requires_grad_(False)


def _optimizer(network: D2mif, options: FitOptions, is_pretrained: bool) -> torch.optim.Optimizer:
    slow = []
    if is_pretrained:
        slow = [p for p in network.encoders["appearance"].parameters() if p.requires_grad]
    known = {id(p) for p in slow}
    fast = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups = [{"params": fast, "peak": options.rate}]
    if slow:
        groups.append({"params": slow, "peak": options.pretrained_rate})
    return torch.optim.AdamW(groups, lr=options.rate, weight_decay=options.decay)


def _loop(path: Path, network: D2mif, options: FitOptions, is_pretrained: bool) -> Loop:
    told = options.steps, options.batch, options.rate, options.seed
    return Loop(
        network=network,
        optimizer=_optimizer(network, options, is_pretrained),
        learning=tuple(network.parameters()),
        judge_every=options.validate_every,
        save_every=options.save_every,
        path=path,
        key=" ".join(map(str, (options.network.to_json(), *told))),
    )


def _step(
    loop: Loop, network: D2mif, train: Sequence[Samples], step: int, options: FitOptions
) -> float:
    """One step; everything random follows from the seed and the step's number."""
    rng = np.random.default_rng((options.seed, step))
    torch.manual_seed(int(rng.integers(2**31)))
    batch = random_batch(train, options.batch, rng).to(options.device)
    for group in loop.optimizer.param_groups:
        group["lr"] = group["peak"] * _schedule(step, options.steps)
    network.train()
    without = _left_out(options.network.branches, rng)
    found = _log_odds(network, batch, without)
    return loop.learn(segmentation_loss(found, batch.truth, batch.known))


def _left_out(branches: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """The branch that a step does without, mostly none."""
    chance = rng.random()
    for at, branch in enumerate(("geometry", "appearance")):
        if BRANCH_DROPOUT * at <= chance < BRANCH_DROPOUT * (at + 1):
            return (branch,) if branch in branches and len(branches) > 1 else ()
    return ()


def _schedule(step: int, steps: int) -> float:
    """Part of the largest rate: a linear rise, then half a cosine to zero."""
    rise = min(WARM_UP, max(steps // 10, 1))
    if step < rise:
        return (step + 1) / rise
    return float(0.5 * (1 + np.cos(np.pi * (step - rise) / max(steps - rise, 1))))


def _log(folder: Path, step: int, loss: float | None, found: Validation) -> None:
    """Add a line; before the first step there is no loss of training."""
    named = {f"{key}_held_out": value for key, value in vars(found).items()}
    entry = {"step": step, "loss": loss} | named
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
