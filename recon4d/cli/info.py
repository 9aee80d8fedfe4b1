"""What a path holds, in words: an input, a result folder, or a weight file.

Numbers here that name no source were set by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.text import printable
from recon4d.io.ours import is_result, lacks_run

_METHODS = ("geometry", "flow", "masks", "refine")
"""Entries of `run.json` that name what was used."""
_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt")
"""How the names of weight files end."""
_LARGEST_LISTING = 40
"""Tensors of a weight file that are listed; beyond, only their number is said."""
_LONGEST_VALUE = 200
"""Characters of a stored value that are shown."""


def describe(path: Path) -> str:
    """Say what `path` holds."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give an input, a result folder, or a weight file")
    if path.suffix in _WEIGHTS and not path.is_dir():
        return describe_weights(path)
    if is_result(path) or ((path / "run.json").is_file() and (path / "frames.txt").is_file()):
        return describe_result(path)  # or says what is wrong with it
    if lacks_run(path):
        raise InputError(
            f"{path} looks like a result folder whose run.json is missing; copy the folder again with all of its "
            "files, or run recon4d again"
        )
    return describe_source(path)


def describe_source(path: Path) -> str:
    """Describe a video file, a folder of images, or an RGB-D folder."""
    from recon4d.io.describe import describe_input
    from recon4d.io.video import NoVideoError

    try:
        known = describe_input(path)
    except NoVideoError as error:
        raise InputError(
            f"{error}; info also takes a folder of images, an RGB-D folder, a result folder, and weights "
            f"({', '.join(_WEIGHTS)})"
        ) from error
    rows = {
        "input": f"{path}, {known['kind']}",
        "frames": _frames_text(known),
        "size": f"{known['width']}x{known['height']} px, worked on at "
        f"{known['working_width']}x{known['working_height']} px",
        "intrinsics": _numbers_text(known["intrinsics"]) or "unknown, will be estimated",
        "distortion": _numbers_text(known["distortion"]) or "none known",
        "depth": "sensor depth, used by --geometry rgbd" if known["depth"] else "none",
    }
    return format_rows(rows)


def describe_result(folder: Path) -> str:
    """Summarise a result folder from its text files; the others are checked, but not decoded."""
    from recon4d.results.folder import check_files
    from recon4d.results.motion_files import motion_text
    from recon4d.results.texts import read_cameras

    cameras = read_cameras(folder)
    check_files(folder, cameras)
    run, (width, height) = cameras.run, cameras.size
    focals = [float(focal) for focal in cameras.intrinsics[:, 0]]
    frames, posed = len(focals), run.get("posed", len(focals))
    rows = {
        "result": str(folder),
        "frames": f"{frames}, {'all' if posed == frames else posed} posed from the images",
        "focal": _focal_text(focals, run),
        "lens": _lens_text(run.get("lens")),
        "shutter": _shutter_text(run),
        "size": f"{width}x{height} px",
        "scale": _scale_text(run),
        "motion": motion_text(folder, len(focals)),
        "depth": _depth_text(run.get("given_depth")),
        "methods": ", ".join(f"{key} {run[key]}" for key in _METHODS if key in run),
        "time": _seconds_text(run.get("stages"), run.get("wall_seconds")),
    }
    return format_rows(rows) + _warnings_text(run.get("warnings"))


def format_rows(rows: Mapping[str, str]) -> str:
    """Lay out names and texts, one line each, in two columns; rows without text are left out."""
    return "\n".join(f"{name + ':':<12}{printable(text)}" for name, text in rows.items() if text)


def _depth_text(given: object) -> str:
    """What the user's own depth was; nothing without it."""
    if not isinstance(given, dict):
        return ""
    array = f" (array '{given.get('array')}')" if given.get("array") else ""
    return f"given: {given.get('scale')} {given.get('kind')}{array}"


def _focal_text(focals: Sequence[float], run: Mapping[str, object]) -> str:
    low, high = min(focals), max(focals)
    text = f"{low:.1f} px" + (f" to {high:.1f} px" if high - low > 0.05 else "")
    return f"not known (assumed {text})" if run.get("focal_source") == "assumed" else text


def _lens_text(lens: object) -> str:
    """A lens that was found, with its coefficients; nothing of one that bends nothing, or that was known."""
    if not isinstance(lens, dict) or lens.get("source") != "estimated" or "terms" not in lens:
        return ""
    if not lens["terms"] and lens["model"] == "pinhole":
        cx, cy = lens["camera"][2:]
        return f"pinhole, principal point ({cx - 0.5:.1f}, {cy - 0.5:.1f}) of the input: found in the video"
    names = [f"k{at} {term:+.4f}" for at, term in enumerate(lens["terms"], start=1)]
    sure = [f" +- {std:.4f}" for std in lens.get("terms_std", ())] or [""] * len(names)
    terms = "".join(f", {name}{std}" for name, std in zip(names, sure, strict=True))
    return f"{lens['model']}{terms}: found in the video and undone"


def _shutter_text(run: Mapping[str, object]) -> str:
    """How long it rolls; nothing where it is open at once."""
    readout, sigma = run.get("readout_ms"), run.get("readout_sigma_ms")
    if not isinstance(readout, int | float) or not readout:
        return ""
    known = f" (+- {sigma:.2g})" if isinstance(sigma, int | float) else ""
    return f"rolls, {readout:.4g} ms{known} from the first row to the last"


def _scale_text(run: Mapping[str, object]) -> str:
    if run.get("scale") != "metric":
        return "relative"
    factor = run.get("depth_factor")
    return (
        f"metres, depth images {factor:g} to the metre" if isinstance(factor, float) else "metres"
    )


def _frames_text(known: Mapping[str, object]) -> str:
    text = f"{known['frames']}" if known["frames"] else "number unknown until they are decoded"
    if known["duration_s"]:
        text += f", {known['duration_s']:.2f} s at {known['fps']:.4g} per second"
    start_s = known["start_s"]
    if isinstance(start_s, float) and start_s != 0:
        text += f", the first at {start_s:.6f} s"
    return text + ("" if known["times"] == "file" else " (assumed; --fps states another rate)")


def _numbers_text(numbers: object) -> str:
    return " ".join(f"{value:g}" for value in numbers) if isinstance(numbers, list) else ""


def _seconds_text(stages: object, wall_s: object) -> str:
    """Wall time where it is known, and seconds by stage; those of parallel workers are summed up."""
    if not isinstance(stages, dict):
        return ""
    seconds = {name: float(cost["seconds"]) for name, cost in stages.items()}
    parts = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    whole_s = wall_s if isinstance(wall_s, int | float) else sum(seconds.values())
    return f"{whole_s:.1f} s ({parts})"


def _warnings_text(warnings: object) -> str:
    if not isinstance(warnings, list):
        return ""
    return "".join(f"\nwarning:    {printable(warning['message'])}" for warning in warnings)


def describe_weights(path: Path) -> str:
    """Say which model a checkpoint is of, and list its tensors; of a safetensors file only the header is read."""
    from recon4d.weights.catalogue import recognise

    shapes, metadata = (
        _safetensors_header(path) if path.suffix == ".safetensors" else _pth_content(path)
    )
    rows = [f"  {printable(name)}: {shapes[name]}" for name in sorted(shapes)]
    lines = [
        f"weights:    {printable(str(path))}, {path.stat().st_size / 1e6:.1f} MB, {len(rows)} tensors"
    ]
    what = recognise(shapes)
    lines += [f"model:      {what}"] if what else []
    lines += [f"  {printable(key)} = {printable(value)}" for key, value in sorted(metadata.items())]
    lines += rows[:_LARGEST_LISTING]
    if len(rows) > _LARGEST_LISTING:
        lines.append(f"  and {len(rows) - _LARGEST_LISTING} more")
    return "\n".join(lines)


def _safetensors_header(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {n: _tensor_text(p.get_dtype(), p.get_shape()) for n, p in slices.items()}
            stored = file.metadata() or {}
            return shapes, {key: value[:_LONGEST_VALUE] for key, value in stored.items()}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a safetensors file ({error}); give one that is complete"
        ) from error


def _pth_content(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    from recon4d.weights.files import read_weights

    weights = read_weights(path)
    shapes = {
        name: _tensor_text(str(value.dtype).removeprefix("torch."), value.shape)
        for name, value in weights.tensors.items()
    }
    return shapes, {key: str(value)[:_LONGEST_VALUE] for key, value in weights.extra.items()}


def _tensor_text(kind: str, shape: Sequence[int]) -> str:
    return f"{kind} {'x'.join(map(str, shape)) or 'scalar'}"
