"""The options of `recon4d train`. Imports nothing heavy."""

import argparse
from pathlib import Path

from recon4d.choices import with_tokens
from recon4d.cli.values import add_choice, not_negative, place, positive, whole
from recon4d.settings.named import CHOICES
from recon4d.settings.option import Choice

TRAIN_SIZE = Choice(now=("light", "full"))
TRAIN_IMAGENET = Choice(now=("yes", "no"))
TRAIN_BACKBONE = Choice(now=("none", *with_tokens()))
LOSSES = (
    ("--focal-loss", 0.5, "focal loss"),
    ("--dice-loss", 0.5, "dice loss"),
    ("--bce-loss", 0.0, "cross entropy; the published code trained with 0, 1 and 1 of the three"),
)
"""Terms of GeoMotion's loss and their weights in its paper."""
DATA_SETS = (
    "davis16-train, davis17-train, fbms59-train, youtube-vos, movi, flyingthings3d or folder"
)


def add_train(parser: argparse.ArgumentParser) -> None:
    """Add the networks that can be trained, each with its options."""
    networks = parser.add_subparsers(dest="model", required=True, metavar="d2mif|geomotion")
    d2mif = networks.add_parser(
        "d2mif", help="the default network, on rendered clips and real data", allow_abbrev=False
    )
    _add_d2mif(d2mif)
    geomotion = networks.add_parser(
        "geomotion", help="masks on pi3's features, on real data", allow_abbrev=False
    )
    _add_geomotion(geomotion)


def _add_d2mif(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument(
        "--textures",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="photographs that rendered worlds are made of; may be repeated (what packages ship)",
    )
    _add_data(parser, "real data beside the rendered clips")
    parser.add_argument(
        "--videos",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="real videos without truth: learnt from is what geometry and appearance agree about; may be repeated",
    )
    _add_number(parser, "--clips", 2, 400, "rendered clips; every tenth is held out")
    _add_number(parser, "--steps", 1, 6000, "steps of the training")
    _add_number(parser, "--batch", 2, 8, "crops per step")
    _add_rate(parser, 1e-3, "; 3e-4 for a few steps of small batches")
    add_choice(parser, "--size", TRAIN_SIZE, "width of the network")
    parser.add_argument(
        "--branches",
        default="geometry,appearance,motion",
        metavar="LIST",
        help="evidence that is used (geometry,appearance,motion)",
    )
    add_choice(
        parser, "--imagenet", TRAIN_IMAGENET, "start the image encoder from ImageNet weights"
    )
    add_choice(
        parser,
        "--backbone",
        TRAIN_BACKBONE,
        "frozen network whose tokens are read beside the maps; those of 400 clips take 15 GB",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="checkpoint of the backbone, or what was fetched; for align3r also depth-pro=PATH or depth-anything=PATH",
    )
    _add_computing(parser, "processes, then threads")


def _add_geomotion(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    _add_data(parser, "real data, at least one; every tenth video is held out")
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="pi3, whose features are used and whose confidence decoder the training starts from, or geomotion to go "
        "on from; raft for the flow (what was fetched)",
    )
    parser.add_argument(
        "--steps",
        type=whole("--steps", 1),
        default=None,
        metavar="N",
        help="steps of one clip each (20 times the number of clips)",
    )
    _add_number(parser, "--clip-frames", 2, 12, "frames of a clip; one begins every half of them")
    _add_rate(parser, 5e-5, "")
    for flag, default, text in LOSSES:
        parser.add_argument(
            flag,
            type=not_negative(flag),
            default=default,
            metavar="W",
            help=f"weight of the {text} ({default:g})",
        )
    _add_computing(parser, "threads")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=place, required=True, metavar="DIR", help="folder of the training"
    )


def _add_data(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help=f"{text}: {DATA_SETS}; repeatable",
    )


def _add_number(
    parser: argparse.ArgumentParser, flag: str, least: int, default: int, text: str
) -> None:
    parser.add_argument(
        flag, type=whole(flag, least), default=default, metavar="N", help=f"{text} ({default})"
    )


def _add_rate(parser: argparse.ArgumentParser, default: float, text: str) -> None:
    parser.add_argument(
        "--rate",
        type=positive("--rate"),
        default=default,
        metavar="R",
        help=f"largest learning rate{text} ({default:g})",
    )


def _add_computing(parser: argparse.ArgumentParser, workers: str) -> None:
    add_choice(parser, "--device", CHOICES["device"], "where to train")
    parser.add_argument(
        "--workers",
        type=whole("--workers", 1),
        default=None,
        metavar="N",
        help=f"{workers} (one per core)",
    )
    _add_number(parser, "--seed", 0, 0, "seed of every random choice")
