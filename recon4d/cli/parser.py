"""The options of every command. Imports nothing heavy, so that `recon4d --help` answers at once."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from recon4d.choices import table
from recon4d.cli.train import add_train
from recon4d.cli.values import add_choice, place, positive, whole
from recon4d.core.errors import ConfigError, did_you_mean
from recon4d.settings.config import GROUPS, RunConfig
from recon4d.settings.named import CHOICES
from recon4d.settings.option import Choice

COMMANDS = ("run", "demo", "track", "view", "eval", "export", "info", "models", "train")
ALIGN = Choice(now=("auto", "sim3", "se3", "none"))
COLOUR = Choice(now=("image", "uncertainty"))
DEPTH_SCALE = Choice(now=("sequence", "scale_shift", "none"))
EXPORT_TO = Choice(now=tuple(table("export")))
DRAWN = Choice(now=("yes", "no"))
DEPTH_SIZE = Choice(now=("working", "original"))
IMAGES = Choice(now=("undistorted", "distorted"))


class _Parser(argparse.ArgumentParser):
    """Turns argparse's complaints into `ConfigError`, which the command line prints as one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; raise a `ConfigError` that names the nearest valid word where it is wrong."""
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        guess = did_you_mean(argv[0], COMMANDS)
        raise ConfigError(
            f"there is no command '{argv[0]}'{guess}; commands: {', '.join(COMMANDS)}"
        )
    parser, commands = _build()
    arguments, extra = parser.parse_known_args(argv)
    if extra:
        owner = commands.get(arguments.command, parser)
        raise ConfigError(_explain_extra(extra[0], owner))
    arguments.words = tuple(argv)
    return arguments


def format_help() -> str:
    """Return the help of the whole command line."""
    return _build()[0].format_help()


def _explain_extra(word: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        return f"'{word}' is one argument too many; see {parser.prog} --help"
    option = word.partition("=")[0]
    valid = [text for text in parser.format_help().replace("[", " ").split() if text[:2] == "--"]
    return f"there is no option {option}{did_you_mean(option, valid)}; see {parser.prog} --help"


def _build() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="recon4d",
        description="Camera poses, depth, motion masks and a 4D point cloud from a casual video of a moving world.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    add = {
        name: _adder(subparsers, name, text)
        for name, text in (
            ("run", "reconstruct a video, a folder of images, or an RGB-D folder"),
            ("demo", "render a small moving world, reconstruct it, and compare with the truth"),
            ("track", "follow points through a result, and tell apart what moves"),
            ("view", "look at a result: desktop window, browser, or picture"),
            ("eval", "compare a result or a trajectory with ground truth"),
            ("export", "write a result for other programs"),
            ("info", "say what an input, a result or a weight file holds"),
            ("models", "weights of other networks: list them with their licences, fetch one"),
            ("train", "train a network of the masks"),
        )
    }
    _add_run(add["run"])
    add["demo"].add_argument("--out", type=place, metavar="DIR", help="result folder")
    _add_track(add["track"])
    _add_view(add["view"])
    _add_eval(add["eval"])
    _add_export(add["export"])
    add["info"].add_argument("path", type=Path, metavar="INPUT|RESULT|WEIGHTS")
    _add_models(add["models"])
    add_train(add["train"])
    return parser, add


def _adder(
    subparsers: "argparse._SubParsersAction[_Parser]", name: str, text: str
) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    left_out = argparse.SUPPRESS  # only what was given reaches the configuration
    parser.add_argument(
        "input",
        nargs="?",
        default=left_out,
        metavar="INPUT",
        help="video file, folder of images, or RGB-D folder",
    )
    names = {key: "|".join(choice.now) for key, choice in CHOICES.items()}
    groups = [parser.add_argument_group(title) for title in GROUPS]
    for each in fields(RunConfig):
        told = each.metadata
        if told.get("group") is not None:
            how: dict[str, Any] = {"metavar": told["usage"].format(**names)}
            if each.name == "weights":
                how["action"] = "append"
            elif told["alone"] is not None:
                how |= {"nargs": "?", "const": told["alone"]}
                if not told["usage"]:
                    how = {"action": "store_const", "const": told["alone"]}
            groups[told["group"]].add_argument(
                f"--{each.name.replace('_', '-')}", default=left_out, help=told["text"], **how
            )
    group = parser.add_argument_group("result")
    group.add_argument(
        "--out", default=left_out, metavar="DIR", help="result folder (./NAME_recon4d)"
    )
    group.add_argument("--overwrite", action="store_true", help="replace an earlier result there")
    group.add_argument("--resume", action="store_true", help="continue an interrupted run")
    group.add_argument(
        "--config",
        type=Path,
        dest="config_file",
        metavar="FILE.toml",
        help="options from a file; those given here win",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        dest="assignments",
        metavar="KEY=VALUE",
        help="any option by its name in config.toml, e.g. optim.kernel_px=0.5",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_subparsers(dest="task", required=True, metavar="list|fetch")
    tasks.add_parser("list", help="every model with size and licence")
    fetch = tasks.add_parser("fetch", help="fetch the weights of one from the Hugging Face hub")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--revision", metavar="R", help="branch, tag or commit of the repository")
    fetch.add_argument("--yes", action="store_true", help="agree to size and licence")
    fetch.add_argument("--offline", action="store_true", help="check what is there, fetch nothing")


def _add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, metavar="RESULT")
    text = "points to follow: lines of frame,u,v; pixels of the result's images, centre of the first one at (0, 0)"
    parser.add_argument("--points", type=Path, metavar="FILE", help=text)
    text = (
        "follow so many points that are chosen; 0: none (2000, unless something else is asked for)"
    )
    parser.add_argument("--tracks", type=whole("--tracks", 0), metavar="N", help=text)
    text = "tell the things apart that move: objects/, objects.json"
    parser.add_argument("--objects", action="store_true", help=text)
    text = "how what every pixel shows moves until the next frame: scene_flow/"
    parser.add_argument("--scene-flow", action="store_true", help=text)


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, metavar="RESULT")
    parser.add_argument("--web", action="store_true", help="serve the viewer to a browser")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="of --web: address to listen on (127.0.0.1: this machine alone; 0.0.0.0: the network, too)",
    )
    parser.add_argument(
        "--port",
        type=whole("--port", 0),
        metavar="N",
        help="of --web: port to listen on (8080, or the next free one)",
    )
    parser.add_argument(
        "--png",
        type=place,
        metavar="FILE",
        help="write one picture, without a window (on a GPU where PyTorch3D is installed)",
    )
    parser.add_argument(
        "--frame",
        type=whole("--frame", 0),
        metavar="N",
        help="frame whose moving points are shown, from 0: of --png (the middle one), else where it starts (0)",
    )
    add_choice(
        parser,
        "--colour",
        COLOUR,
        "what points are coloured by: the video, or how surely depth is known",
    )
    parser.add_argument(
        "--max-std",
        type=positive("--max-std"),
        metavar="SHARE",
        help="hide points whose depth has a larger standard deviation, as a share of it, e.g. 0.05",
    )


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, metavar="RESULT|TRAJECTORY")
    parser.add_argument(
        "--gt",
        type=Path,
        metavar="SEQUENCE|TRAJECTORY",
        help="TUM-layout folder, folder of mask images, or TUM trajectory; without it, only how steady depth is",
    )
    add_choice(parser, "--align", ALIGN, "alignment of the trajectories")
    parser.add_argument(
        "--max-diff",
        type=positive("--max-diff"),
        default=0.02,
        metavar="S",
        help="largest time difference of matched poses, in seconds (0.02)",
    )
    add_choice(parser, "--depth-scale", DEPTH_SCALE, "alignment of the depth")
    parser.add_argument(
        "--depth-factor",
        type=positive("--depth-factor"),
        default=5000.0,
        metavar="F",
        help="value of a depth PNG for one metre (5000)",
    )
    parser.add_argument(
        "--json", type=place, metavar="FILE", help="also write the figures to a file"
    )


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, metavar="RESULT")
    text = "; ".join(f"{name}: {each.about}" for name, each in table("export").items())
    add_choice(parser, "--to", EXPORT_TO, text, required=True)
    text = "folder to write to, for glb also a .glb file (RESULT/export/FORMAT)"
    parser.add_argument("--out", type=place, metavar="PATH", help=text)
    text = (
        "of colmap, nerfstudio and overlay: images, intrinsics, masks and depth at the working size, or at the size of "
        "the input, which must still be where it was; edges of depth and masks follow its images"
    )
    add_choice(parser, "--depth-size", DEPTH_SIZE, text)
    text = (
        "of colmap, nerfstudio and overlay: as the run saw them, or as they came, at the size of the input, with the "
        "camera's lens, and depth and masks to match"
    )
    add_choice(parser, "--images", IMAGES, text)
    text = "of a rolling shutter: pictures, depth and masks as one would have shown them that is open at once"
    parser.add_argument("--unroll", action="store_true", help=text)
    add_choice(parser, "--cameras", DRAWN, "of glb: draw the cameras' frustums and their path")


def run_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the options of `RunConfig` that the command line of `run` gave."""
    names = RunConfig.__dataclass_fields__
    return {key: value for key, value in vars(arguments).items() if key in names}
