"""The lens of a video that nobody knows: found from its flow, then the frames are read again without it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.progress import Progress
from recon4d.core.scene import Flow, Scene, Video
from recon4d.flow.guided import guided_flow
from recon4d.flow.overlay import without_overlay
from recon4d.flow.straightened import straightened_flow
from recon4d.io.frames import Source
from recon4d.optim.lens.again import look_again, look_closer
from recon4d.optim.lens.find import PINHOLE, FoundLens, find_lens
from recon4d.optim.setting import AlignOptions
from recon4d.run.lens_source import input_camera
from recon4d.run.long.clips import Clip, is_long
from recon4d.run.methods import Methods
from recon4d.run.options import align_options
from recon4d.run.reconstruct import observe, read_stage
from recon4d.run.stages import ALONE, FIRST_LOOK, FLOW, GUIDED_FLOW, LENS, UNDISTORTED
from recon4d.settings.config import RunConfig

WINDOW_FRAMES = 40
"""Frames in the middle of a long video that its lens is found from: half a clip."""


def without_lens(
    config: RunConfig,
    methods: Methods,
    folder: Path,
    progress: Progress,
    frames: Source | None = None,
) -> Path:
    """Find the lens of a video that was read; where there is one, the frames are read again without it.

    Args:
        config: What to do.
        methods: Its methods.
        folder: The run's folder, with the stage `read`.
        progress: Told how far the stages are.
        frames: Frames in memory; None: `config.input` is read.

    Returns:
        The folder whose stage `read` has the undistorted frames, and where what follows is to be stored.

    Raises:
        ConfigError: A lens is to be found of a camera that is known.
    """
    video = read_stage(config, folder, progress)
    if not _is_sought(config, methods, video):
        return folder

    place, seen = _place(config, methods, folder, video)
    found = _found(config, methods, folder, place, seen, progress)
    if found.is_usual:
        return folder
    threads = align_options(config).threads

    def undo(own: Path, lens: FoundLens) -> Video:
        straight = read_stage(config, own, progress, frames, lens=input_camera(lens, video))
        LENS.run(own, lambda _: lens)
        return straight

    def straighten(own: Path, straight: Video) -> None:
        if seen.sources == straight.sources:  # else other frames repeat the one before
            FLOW.run(own, lambda f: _straightened(FLOW.load(place), found, straight, f, threads))

    own, look = folder / UNDISTORTED, folder / FIRST_LOOK
    if found.model != "fisheye":
        straighten(own, undo(own, found))  # not so where it was found from a part
        return own
    part = _part(config, undo(look, found))
    straighten(look, part)
    undo(own, _second_look(config, methods, look, part, progress))
    return own


def _second_look(
    config: RunConfig, methods: Methods, folder: Path, straight: Video, progress: Progress
) -> FoundLens:
    """The fisheye by flow that the cameras behind the first one guide."""
    found = LENS.load(folder)
    if not FLOW.is_done(folder):  # other frames repeat the one before
        return found
    try:
        _, scene = observe(config, replace(methods, prior=None), folder, straight, progress)
    except DegenerateError:
        return found
    options, shown = align_options(config), straight.found_intrinsics
    assert shown is not None, "a lens was found"
    guide = partial(_guided, methods, straight, FLOW.load(folder), scene, options, progress)
    flow = GUIDED_FLOW.run(folder, guide)
    bent = found.intrinsics(straight.size, straight.fy_over_fx)
    return look_again(found, bent, shown, flow, scene, options.kernel_px)


def _guided(
    methods: Methods,
    video: Video,
    flow: Flow,
    scene: Scene,
    options: AlignOptions,
    progress: Progress,
    folder: Path,
) -> Flow:
    """Flow that is measured anew with the help of first cameras."""
    threads, method = options.threads, methods.flow
    found = guided_flow(video.images, flow, scene, folder, method, threads, progress)
    return without_overlay(found, video.overlay)


def _found(
    config: RunConfig,
    methods: Methods,
    folder: Path,
    place: Path,
    seen: Video,
    progress: Progress,
) -> FoundLens:
    """The stages that find the lens."""
    try:
        _, scene = observe(config, replace(methods, prior=None), place, seen, progress)
    except DegenerateError:
        if place == folder:
            raise
        return LENS.run(folder, lambda _: PINHOLE)

    options, first = align_options(config), FLOW.load(place)

    def find(_: Path) -> FoundLens:
        with progress("lens", total=1) as counter:
            found = find_lens(seen, first, scene, options, config.lens)
            counter.advance()
        if not found.may_bend:
            return found
        flow = GUIDED_FLOW.run(
            folder / ALONE, partial(_guided, methods, seen, first, scene, options, progress)
        )
        return look_closer(seen, flow, scene, options.kernel_px)

    return LENS.run(folder, find)


def _straightened(
    flow: Flow, found: FoundLens, straight: Video, folder: Path, threads: int
) -> Flow:
    """The flow that a lens was found from, as the frames without it show it."""
    assert straight.found_intrinsics is not None, "a lens was found"
    bent = found.intrinsics(straight.size, straight.fy_over_fx)
    return without_overlay(
        straightened_flow(flow, found.bending, bent, straight.found_intrinsics, folder, threads),
        straight.overlay,
    )


def _is_sought(config: RunConfig, methods: Methods, video: Video) -> bool:
    """Whether to look for a lens; without being asked, only where flow alone tells the camera."""
    if config.lens == "auto":
        flow_alone = methods.prior is None and video.sensor_depth is None
        return video.intrinsics is None and flow_alone and config.focal != "per-frame"
    if config.lens != "pinhole" and video.intrinsics is not None:
        raise ConfigError(
            f"{config.input} has a known camera, and --lens {config.lens} has its lens found; leave --lens out, or "
            "give the folder of the images alone"
        )
    return config.lens != "pinhole"


def _place(config: RunConfig, methods: Methods, folder: Path, video: Video) -> tuple[Path, Video]:
    """Where the stages are stored that a lens is found from, and which frames these are of."""
    part = _part(config, video)
    is_whole = part is video and methods.prior is None
    return (folder if is_whole else folder / ALONE), part


def _part(config: RunConfig, video: Video) -> Video:
    """The frames that a lens is found from: of a long video some in its middle."""
    if not is_long(video.num_frames, config.optim):
        return video
    first = (video.num_frames - WINDOW_FRAMES) // 2
    last = first + WINDOW_FRAMES
    return replace(Clip(0, first, last, first, last).of(video), poses=None)
