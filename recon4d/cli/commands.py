"""What each command of the command line does. Heavy imports are inside the functions."""

import shlex
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from recon4d.cli import parser
from recon4d.cli.screen import remark, say, show_progress, show_run
from recon4d.core.errors import ConfigError
from recon4d.core.files import straight
from recon4d.core.text import printable
from recon4d.io.files import check_file_output
from recon4d.settings import text
from recon4d.settings.config import RunConfig

_DEMO_OUT = Path("demo_recon4d")


def run_config(arguments: Namespace) -> RunConfig:
    """Make the configuration of `recon4d run`: file, then `--set`, then the other options win."""
    file = arguments.config_file
    in_file = {} if file is None else text.read_toml(file)
    assigned = dict(map(text.parse_assignment, arguments.assignments))
    config = text.build(text.override(in_file, assigned, parser.run_options(arguments)))
    return config if config.out is None else replace(config, out=straight(config.out))


def run(arguments: Namespace) -> None:
    """Reconstruct, and say where the result is."""
    config = run_config(arguments)
    from recon4d.cli.info import describe_result
    from recon4d.run import pipeline

    with show_run(config.loop) as progress:
        result = pipeline.run(
            config,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            progress=progress,
            began_s=arguments.began_s,
        )
    say(describe_result(result))
    shown = printable(shlex.quote(str(result)))
    say(f"next:       recon4d view {shown}\n            recon4d export {shown} --to ply")


def demo(arguments: Namespace) -> None:
    """Reconstruct a rendered world and compare with the truth."""
    from recon4d.demo import run_demo

    say(run_demo(arguments.out or _DEMO_OUT, show_progress))


def track(arguments: Namespace) -> None:
    """Follow points through a result, and tell apart what moves."""
    from recon4d.tracks.command import track_result

    wrote = track_result(
        arguments.result,
        points=arguments.points,
        tracks=arguments.tracks,
        objects=arguments.objects,
        scene_flow=arguments.scene_flow,
        progress=show_progress,
    )
    say("\n".join(f"wrote {printable(str(path))}" for path in wrote))


def view(arguments: Namespace) -> None:
    """Show a result."""
    if arguments.web and arguments.png is not None:
        raise ConfigError("--web and --png exclude each other; give one of the two")
    _refuse_address_without_web(arguments)
    if arguments.png is not None:
        check_file_output(arguments.png, "--png")
    import recon4d.viewer as viewer

    style = viewer.Style(arguments.colour, arguments.max_std)
    if arguments.png is not None:
        viewer.render_png(arguments.result, arguments.png, remark, style, arguments.frame)
        say(f"wrote {printable(str(arguments.png))}")
    elif arguments.web:
        host = viewer.Address.host if arguments.host is None else arguments.host
        address = viewer.Address(host, arguments.port)
        viewer.view_web(arguments.result, address, say, style, arguments.frame)
    else:
        viewer.view_desktop(arguments.result, say, style, arguments.frame)


def _refuse_address_without_web(arguments: Namespace) -> None:
    """Refuse an address that nothing would be served at."""
    for flag, value in (("--host", arguments.host), ("--port", arguments.port)):
        if value is not None and not arguments.web:
            raise ConfigError(
                f"{flag} is the address of the page of --web; add --web, or leave {flag} out"
            )


def evaluate(arguments: Namespace) -> None:
    """Compare with ground truth."""
    if arguments.json is not None:
        check_file_output(arguments.json, "--json")
    from recon4d.evaluate import EvalOptions, evaluate

    options = EvalOptions(
        align=arguments.align,
        max_diff_s=arguments.max_diff,
        depth_scale=arguments.depth_scale,
        depth_factor=arguments.depth_factor,
    )
    say(evaluate(arguments.result, arguments.gt, options, json_file=arguments.json), needed=True)


def export(arguments: Namespace) -> None:
    """Write a result for other programs."""
    from recon4d.export import ExportOptions, export_result

    options = ExportOptions(
        arguments.depth_size, arguments.cameras == "yes", arguments.unroll, arguments.images
    )
    wrote = export_result(arguments.result, arguments.to, arguments.out, options, show_progress)
    say(f"wrote {printable(str(wrote))}")


def info(arguments: Namespace) -> None:
    """Say what a path holds."""
    from recon4d.cli.info import describe

    say(describe(arguments.path), needed=True)


def models(arguments: Namespace) -> None:
    """List the models, or fetch the weights of one."""
    from recon4d.weights import catalogue

    if arguments.task == "list":
        say(catalogue.list_models(), needed=True)
        return
    path = catalogue.fetch(
        arguments.name, arguments.revision, yes=arguments.yes, offline=arguments.offline
    )
    say(f"the weights of {arguments.name} are at {printable(str(path))}")


def train(arguments: Namespace) -> None:
    """Train a network of the masks, going on where an earlier call was interrupted."""
    name, words = arguments.model, shlex.join(["recon4d", *arguments.words])
    if name == "geomotion":
        from recon4d.masks.train import geomotion

        weights = geomotion.train_geomotion(
            geomotion.from_arguments(arguments, words), show_progress
        )
    else:
        from recon4d.masks.train import d2mif

        weights = d2mif.train_d2mif(d2mif.from_arguments(arguments, words), show_progress)
    shown = printable(shlex.quote(str(weights)))
    say(
        f"wrote {shown} and its card\nnext:       recon4d run VIDEO --masks {name} --weights {name}={shown}"
    )


COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "run": run,
    "demo": demo,
    "track": track,
    "view": view,
    "eval": evaluate,
    "export": export,
    "info": info,
    "models": models,
    "train": train,
}
