"""The options of a run: one frozen dataclass, checked when it is made. Reading, writing: `recon4d.settings.text`."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from recon4d.choices import weight_names
from recon4d.core.errors import ConfigError
from recon4d.core.files import fitting, resolved
from recon4d.settings.named import CHOICES
from recon4d.settings.optim import OptimConfig
from recon4d.settings.option import check_ranges, option

GROUPS = ("which frames", "camera", "method", "computing", "motion")
"""What options are about, in the order of `recon4d run --help`."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a run; `config.toml` in the result folder holds it."""

    input: Path
    """A video file, a folder of images, or an RGB-D folder in TUM layout."""
    out: Path | None = None
    """The result folder; None: `NAME_recon4d/` in the current directory."""
    fps: float | None = option(
        None,
        "F",
        "frames per second to keep; for a folder of images: its rate",
        group=0,
        low=0.001,
        high=10_000.0,
    )
    """None: every `stride`-th frame."""
    stride: int = option(1, "N", "keep every N-th frame (1)", group=0, low=1, high=1_000_000)
    start: float = option(
        0.0, "S", "begin S seconds after the first frame (0)", group=0, low=0.0, high=1e9
    )
    max_frames: int | None = option(
        None, "N", "stop after N kept frames", group=0, low=2, high=1_000_000_000
    )
    size: int = option(
        512, "PX", "long side of the working size in pixels (512)", group=0, low=64, high=8192
    )
    """Each side is rounded to a multiple of 8; nothing is enlarged."""
    intrinsics: str | None = option(
        None,
        "FX,FY,CX,CY|FILE",
        "known intrinsics in pixels of the input images, with lens distortion if the file has it",
        group=1,
    )
    """The centre of the first pixel is at (0, 0); None: estimated."""
    focal_mm: float | None = option(
        None,
        "MM",
        "focal length in millimetres where the search for it begins: of the lens with --sensor-mm, else for 35 mm film",
        group=1,
        low=0.1,
        high=10_000.0,
    )
    """None: what EXIF of the pictures says."""
    sensor_mm: float | None = option(
        None,
        "MM",
        "side of the sensor that the long side of the images shows, for --focal-mm",
        group=1,
        low=0.1,
        high=1000.0,
    )
    focal: str = option(
        CHOICES["focal"].now[0],
        "{focal}",
        "one focal length, or one for each frame of a zooming video; auto: what explains the video",
        group=1,
    )
    lens: str = option(
        CHOICES["lens"].now[0],
        "{lens}",
        "how the lens bends straight lines, which is found and undone; auto: a radial lens where the video shows one",
        group=1,
    )
    """Of a camera that is not known."""
    readout: float | None = option(
        None,
        "auto|0|MS",
        "milliseconds that a rolling shutter takes from the first row to the last (auto: found; 0: none)",
        group=1,
        low=-1000.0,
        high=1000.0,
    )
    """Negative where the last row is read first; None: found."""
    poses: Path | None = option(
        None,
        "FILE",
        "known poses of some frames or all: TUM trajectory, world_from_cam, times as in the video",
        group=1,
    )
    """Frame and scale of the result are theirs."""
    pose_sigma: float | None = option(
        None,
        "S",
        "standard deviation of the known poses' centres, in their unit (0: held exactly)",
        group=1,
        low=0.0,
        high=1e9,
    )
    """That of their rotations is this over the median depth of the scene."""
    masks: str = option(
        CHOICES["masks"].now[0],
        "{masks}|FOLDER",
        "motion masks: a method, or one image per frame",
        group=2,
    )
    masks_mean: str = option(
        CHOICES["masks_mean"].now[0],
        "{masks_mean}",
        "what is not 0 in the FOLDER's masks (moving)",
        group=2,
    )
    geometry: str = option(
        CHOICES["geometry"].now[0],
        "{geometry}",
        "where the first depth and poses come from",
        group=2,
    )
    depth: Path | None = option(
        None,
        "FOLDER|FILE",
        "depth of any model: npy, npz, EXR or 16-bit PNG per frame, or one file of all frames; 0 and NaN: unknown",
        group=2,
    )
    """Of any resolution, of the frames as they are in the input."""
    depth_kind: str = option(
        CHOICES["depth_kind"].now[0],
        "{depth_kind}",
        "what --depth holds (auto: what its arrays are called, else depth)",
        group=2,
    )
    depth_scale: str = option(
        CHOICES["depth_scale"].now[0],
        "{depth_scale}",
        "its unit: metres; up to a factor, or a factor and an offset, in each frame (auto: affine of disparity, else "
        "relative)",
        group=2,
    )
    depth_factor: float | None = option(
        None,
        "auto|F",
        "value of depth images (RGB-D, --depth) for one metre (auto: 1000 or 5000, what is plausible)",
        group=2,
        low=1e-3,
        high=1e6,
    )
    flow: str = option(CHOICES["flow"].now[0], "{flow}", "optical flow", group=2)
    refine: str = option(
        CHOICES["refine"].now[0], "{refine}", "refinement of the masks' borders", group=2
    )
    loop: int = option(
        2,
        "N",
        "most rounds of masks and optimisation after the first (2)",
        group=2,
        low=0,
        high=100,
    )
    weights: tuple[str, ...] = option(
        (),
        "[NAME=]PATH",
        "weights of a network: dust3r=PATH, depth-pro=PATH, d2mif=PATH (the shipped one), ...",
        group=2,
    )
    device: str = option(CHOICES["device"].now[0], "{device}", "where to compute", group=3)
    workers: int | None = option(
        None,
        "N",
        "parallel workers (one per core); clips of videos over 100 frames run in processes",
        group=3,
        low=1,
        high=1024,
    )
    executor: str = option(
        CHOICES["executor"].now[0],
        "{executor}",
        "where clips of videos over 100 frames run; RAY_ADDRESS names a cluster",
        group=3,
    )
    seed: int = option(0, "N", "seed of every random choice (0)", group=3, low=0, high=2**63 - 1)
    """The first clusters of colours (`refine` edges) and of tokens (`masks` easi3r); TOML integers have 64 bits."""
    tracks: int = option(
        0,
        "[N]",
        "follow N points (2000; 0: none), static and moving ones: tracks.npz",
        group=4,
        alone="2000",
        low=0,
        high=1_000_000,
    )
    """0: none."""
    objects: bool = option(
        False, "", "tell the things apart that move: objects/, objects.json", group=4, alone="yes"
    )
    scene_flow: bool = option(
        False,
        "",
        "how what every pixel shows moves until the next frame: scene_flow/",
        group=4,
        alone="yes",
    )
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

        self._refuse_idle_millimetres()
        if self.lens not in ("auto", "pinhole") and self.intrinsics is not None:
            raise ConfigError(
                f"--intrinsics {self.intrinsics} tells the lens, too, and --lens {self.lens} has it found; give one of "
                "the two"
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
        in_metres = self.depth is not None and self.depth_scale == "metric"
        if self.depth_factor is not None and self.geometry != "rgbd" and not in_metres:
            unread = f"--geometry {self.geometry} does not read; add --geometry rgbd"
            if self.depth is not None:
                unread = (
                    f"tells nothing of --depth-scale {self.depth_scale}; add --depth-scale metric"
                )
            raise ConfigError(
                f"--depth-factor {self.depth_factor:g} is the unit of depth images, which {unread}, or leave "
                "--depth-factor out"
            )
        self._refuse_depth()

    def _refuse_depth(self) -> None:
        usual = CHOICES["geometry"].now[0]
        if self.depth is not None and self.geometry != usual:
            raise ConfigError(
                f"--depth {self.depth} and --geometry {self.geometry} both tell the depth; give one of the two"
            )
        told = {"--depth-kind": self.depth_kind, "--depth-scale": self.depth_scale}
        for option_, value in told.items():
            if self.depth is None and value != "auto":
                raise ConfigError(
                    f"{option_} {value} says what the depth of one's own is, but none is given; add --depth FOLDER, or "
                    "leave it out"
                )

    def _refuse_idle_millimetres(self) -> None:
        if self.sensor_mm is not None and self.focal_mm is None:
            raise ConfigError(
                f"--sensor-mm {self.sensor_mm:g} is the sensor of a focal length in millimetres, and none is given; "
                "add --focal-mm, or leave --sensor-mm out"
            )
        if self.focal_mm is not None and self.intrinsics is not None:
            raise ConfigError(
                f"--intrinsics {self.intrinsics} fixes the focal length, and --focal-mm {self.focal_mm:g} is where the "
                "search for it begins; give one of the two"
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
        check_ranges(self)

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
            depth=None if self.depth is None else self.depth.absolute(),
        )


def default_output(source: Path) -> Path:
    """Return `NAME_recon4d` in the current directory; a name that would be too long is cut."""
    place = resolved(source)
    name = place.stem if place.is_file() else place.name
    return Path(fitting(name or "input", "", "_recon4d"))
