"""The options of a run: one frozen dataclass, checked when it is made. Reading, writing: `recon4d.settings.text`."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from recon4d.choices import table, weight_names
from recon4d.core.errors import ConfigError, did_you_mean
from recon4d.core.files import fitting, resolved


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The values that an option can take."""

    now: tuple[str, ...]
    """Values that work; the first is the default."""
    other: str = ""
    """What the option takes besides names, for messages."""

    def check(self, key: str, value: str) -> None:
        """Raise a `ConfigError` that names the valid values unless `value` is one that works."""
        if value in self.now:
            return
        available = ", ".join(self.now) + (f", or {self.other}" if self.other else "")
        guess = did_you_mean(value, self.now)
        raise ConfigError(f"{key} cannot be '{value}'{guess}; available: {available}")


CHOICES = {
    "masks": Choice(
        now=tuple(table("masks")), other="an existing folder with one mask image per frame"
    ),
    "masks_mean": Choice(now=("moving", "static")),
    "geometry": Choice(now=tuple(table("geometry"))),
    "flow": Choice(now=tuple(table("flow"))),
    "refine": Choice(now=tuple(table("refine"))),
    "focal": Choice(now=("shared", "per-frame")),
    "device": Choice(now=("auto", "cpu", "cuda")),
    "executor": Choice(now=("local", "ray")),
}
"""The options of `RunConfig` that take a name."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Settings of the batch optimizer; `--set optim.NAME=VALUE` on the command line."""

    kernel_px: float = 0.3
    """Largest scale of the robust kernel at the end, which follows the noise of the flow: flow residuals above it
    count less and less. Pixels of the working size."""
    grid_px: int = 16
    """Distance between depth samples while cameras are optimised. Pixels of the working size."""
    max_steps: int = 30
    """Most Levenberg-Marquardt steps per solve."""
    whole_frames: int = 100
    """Longer videos are divided into clips that overlap; their keyframes are aligned together. Frames."""
    clip_frames: int = 80
    """Most frames of a clip, with those that it shares with its neighbours: memory is that of one clip per worker."""
    clip_overlap: int = 8
    """Frames that neighbouring clips share at least."""
    keyframes: str = "fixed"
    """`fixed` while clips are aligned between them, or `free`: to measure what fixing is good for."""

    def __post_init__(self) -> None:
        _check_range("optim.kernel_px", self.kernel_px, 0.01, 10.0)
        _check_range("optim.grid_px", self.grid_px, 4, 128)
        _check_range("optim.max_steps", self.max_steps, 1, 1000)
        _check_range("optim.clip_frames", self.clip_frames, 8, 1000)
        _check_range("optim.whole_frames", self.whole_frames, self.clip_frames, 1_000_000)
        _check_range("optim.clip_overlap", self.clip_overlap, 3, self.clip_frames // 2)
        Choice(now=("fixed", "free")).check("optim.keyframes", self.keyframes)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a run; `config.toml` in the result folder holds it."""

    input: Path
    """A video file, a folder of images, or an RGB-D folder in TUM layout."""
    out: Path | None = None
    """The result folder; None: `NAME_recon4d/` in the current directory."""
    masks: str = CHOICES["masks"].now[0]
    """Motion segmentation: a method, or a folder with one mask image per frame (non-zero = moving)."""
    masks_mean: str = CHOICES["masks_mean"].now[0]
    """What is not 0 in the images of a folder of masks; `static` where 0 = ignore."""
    geometry: str = CHOICES["geometry"].now[0]
    """Where the first depth and poses come from."""
    flow: str = CHOICES["flow"].now[0]
    """Optical flow method."""
    refine: str = CHOICES["refine"].now[0]
    """How the borders of masks are refined."""
    weights: tuple[str, ...] = ()
    """Weight files `[NAME=]PATH` of models that are not built in."""
    intrinsics: str | None = None
    """`FX,FY,CX,CY` in pixels of the input images (centre of the first pixel at (0, 0)), or a file; None: estimated."""
    focal: str = CHOICES["focal"].now[0]
    """Whether all frames share one estimated focal length, or each has its own (a zooming video)."""
    poses: Path | None = None
    """Known poses, a TUM trajectory, may be partial; frame and scale of the result are theirs."""
    pose_sigma: float | None = None
    """Standard deviation of the known poses' centres in their own unit; that of their rotations is this over the
    median depth of the scene. None or 0: they are held exactly."""
    depth_factor: float | None = None
    """Value of a depth image for one metre (1000: millimetres, 5000: TUM's benchmark); None, or `auto`: whichever of
    these two is plausible."""
    size: int = 512
    """Long side of the working size in pixels; each side is rounded to a multiple of 8; nothing is enlarged."""
    fps: float | None = None
    """Frames per second to keep of a video; for a folder of images, its rate. None: every `stride`-th frame."""
    stride: int = 1
    """Keep every n-th frame."""
    start: float = 0.0
    """Where to begin, in seconds after the first frame."""
    max_frames: int | None = None
    """Stop after this many kept frames; None: all."""
    loop: int = 2
    """Most rounds of masks from the optimised geometry and optimisation again, after the first."""
    device: str = CHOICES["device"].now[0]
    """Where to compute; auto: cuda if there is one."""
    workers: int | None = None
    """Parallel workers; None: one per processor core."""
    executor: str = CHOICES["executor"].now[0]
    """Where clips of long videos run."""
    seed: int = 0
    """Seed of every random choice: the first clusters of colours (`refine` edges) and of tokens (`masks` easi3r)."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Settings of the batch optimizer."""

    def __post_init__(self) -> None:
        for key, choice in CHOICES.items():
            if key != "masks" or self.masks_folder is None:
                choice.check(key, getattr(self, key))
        self._refuse_contradictions()
        self._check_weights()
        self._check_numbers()

    def _refuse_contradictions(self) -> None:
        if self.poses is None and self.pose_sigma is not None:
            raise ConfigError(
                f"--pose-sigma {self.pose_sigma:g} says how far known poses may be off, but none are given; add "
                "--poses FILE, or leave --pose-sigma out"
            )
        if self.focal == "per-frame" and self.intrinsics is not None:
            raise ConfigError(
                f"--intrinsics {self.intrinsics} fixes the focal length, and --focal per-frame has every frame's "
                "estimated; give one of the two"
            )

        if self.masks_mean != CHOICES["masks_mean"].now[0] and self.masks_folder is None:
            raise ConfigError(
                f"--masks-mean {self.masks_mean} says what the images of a folder of masks mean, but --masks is "
                f"'{self.masks}'; give the folder, or leave --masks-mean out"
            )
        if self.refine == "sam2" and self.masks_folder is not None:
            raise ConfigError(
                f"--refine sam2 refines the masks of a method, and those of the folder {self.masks} stay as they are; "
                "leave it out, or choose a method"
            )
        if self.depth_factor is not None and self.geometry != "rgbd":
            raise ConfigError(
                f"--depth-factor {self.depth_factor:g} is the unit of depth images, which --geometry {self.geometry} "
                "does not read; add --geometry rgbd, or leave --depth-factor out"
            )

    def _check_weights(self) -> None:
        names = [name for name, _ in self.given_weights]
        for text, name in zip(self.weights, names, strict=True):
            if name not in weight_names():
                raise ConfigError(
                    f"--weights {text} is for '{name}', which takes no weights in this version; "
                    f"write NAME=PATH with NAME one of: {', '.join(weight_names())}"
                )
            if names.count(name) > 1:
                raise ConfigError(f"--weights {name}=... is given more than once; give it once")

    def _check_numbers(self) -> None:
        if self.fps is not None and self.stride != 1:
            raise ConfigError(
                f"fps {self.fps:g} and stride {self.stride} both choose frames; give one of the two"
            )
        _check_range("pose_sigma", self.pose_sigma, 0.0, 1e9)
        _check_range("depth_factor", self.depth_factor, 1e-3, 1e6)
        _check_range("size", self.size, 64, 8192)
        _check_range("fps", self.fps, 0.001, 10_000.0)
        _check_range("stride", self.stride, 1, 1_000_000)
        _check_range("start", self.start, 0.0, 1e9)
        _check_range("max_frames", self.max_frames, 2, 1_000_000_000)
        _check_range("loop", self.loop, 0, 100)
        _check_range("workers", self.workers, 1, 1024)
        _check_range("seed", self.seed, 0, 2**63 - 1)  # TOML integers have 64 bits

    @property
    def given_weights(self) -> list[tuple[str, str]]:
        """(name, path) of every weight file; one without a name is for the network of `geometry`."""
        parts = [text.partition("=") for text in self.weights]
        return [(n, path) if equals else (self.geometry, n) for n, equals, path in parts]

    @property
    def masks_folder(self) -> Path | None:
        """The folder of the user's own masks; None where `masks` names a method."""
        choice = CHOICES["masks"]
        if self.masks in ("", *choice.now) or not Path(self.masks).is_dir():
            return None
        return Path(self.masks)

    @property
    def out_folder(self) -> Path:
        """The result folder: `out`, or `NAME_recon4d` in the current directory."""
        return default_output(self.input) if self.out is None else self.out

    def anchored(self) -> "RunConfig":
        """The same run with absolute paths, so that it can be repeated from any directory."""
        intrinsics, folder = self.intrinsics, self.masks_folder
        if intrinsics is not None and Path(intrinsics).is_file():
            intrinsics = str(Path(intrinsics).absolute())
        return dataclasses.replace(
            self,
            input=self.input.absolute(),
            out=self.out_folder.absolute(),
            masks=self.masks if folder is None else str(folder.absolute()),
            weights=tuple(f"{n}={Path(path).absolute()}" for n, path in self.given_weights),
            intrinsics=intrinsics,
            poses=None if self.poses is None else self.poses.absolute(),
        )


def _check_range(key: str, value: int | float | None, low: int | float, high: int | float) -> None:
    if value is not None and not low <= value <= high:  # no number is not, either
        shown = "an enormous number" if abs(value) > _LARGEST_SHOWN else f"{value:g}"
        raise ConfigError(f"{key} must be from {low:g} to {high:g}, got {shown}")


_LARGEST_SHOWN = 1e300
"""Whole numbers of any length may be given, which no float holds."""


def default_output(source: Path) -> Path:
    """Return `NAME_recon4d` in the current directory; a name that would be too long is cut."""
    place = resolved(source)
    name = place.stem if place.is_file() else place.name
    return Path(fitting(name or "input", "", "_recon4d"))
