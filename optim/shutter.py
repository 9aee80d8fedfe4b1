"""How long a shutter takes to roll over the picture, found from the flow with poses and depth.

The optimization knows shutters that are open at once. What a rolling one adds to the flow is taken off it
(`recon4d.optim.rolling`), poses and depth are found again, and so on: a few times until nothing changes. A readout is
only believed where it is far from 0 against its standard deviation, and explains regions of the image that it was not
found from.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np

from recon4d.core.geometry import invert_rigid
from recon4d.core.scene import Scene, Shutter
from recon4d.optim.objective.noise import noise_kernel_px
from recon4d.optim.objective.unknowns import State
from recon4d.optim.rolling import Profile, Unrolling, region_costs
from recon4d.optim.setting import Setting

WIDE_KERNEL_PX = 2.0, 12.0
"""Least and largest scale of the robust kernel while the readout is far off, pixels: the parabola of the usual one is a
tenth as wide as what 20 ms do to `exact_static`."""
WIDE_KERNELS = 4.0
"""That scale over the one that follows the residuals."""
ROUNDS = 6
"""Most readouts that are tried per kernel."""
SETTLED_S = {True: 5e-4, False: 2e-5}
"""A readout that changes by less has settled, with the wide kernel and with the last, seconds."""
LEAST_S = 2e-3
"""Shorter readouts are none, seconds: rolling shutters take 5 ms and more, and flow is off enough to seem .3 ms
(`exact_static`, whose shutter is open at once)."""
LEAST_SIGMAS = 5.0
"""A readout that is not farther from 0 than so many standard deviations is none."""
LEAST_REGIONS = 0.75
"""Part of the image's regions that must be explained better with the readout that the others tell than without."""
LOOK_SIGMAS = 1.5
"""A first look is followed by a second one where the readout seems farther from 0 than so many standard deviations."""
LOOK_SAMPLES = 256
"""Samples of a frame, about, with which it is looked whether there may be any readout."""


@dataclass(frozen=True)
class Fit:
    """A readout with the poses and the depth that belong to it."""

    readout_s: float
    state: State
    profile: Profile | None = None
    """At the readout; None where it is given."""

    @property
    def sigma_s(self) -> float:
        """Standard deviation of the readout, seconds."""
        return 0.0 if self.profile is None else self.profile.sigma_s


def find_readout(setting: Setting, state: State, kernel_px: float) -> Fit | None:
    """The readout that explains the flow; None where it explains nothing, or is not told from 0.

    Args:
        setting: With flow as it was measured, weighted by what is static.
        state: Poses and depth without a readout.
        kernel_px: Largest scale of the last robust kernel.
    """
    if setting.video.num_frames < 3:
        return None
    for is_upwards in _may_roll(setting, state):
        way = Unrolling(setting, is_upwards)
        start = way.solved(state, 0.0, kernel_px)
        fit = _settled(way, Fit(0.0, start), _wide_px(setting, start), is_wide=True)
        if fit is None or (fit.readout_s < 0) != is_upwards:
            continue
        fit = refined(setting, fit, kernel_px)
        if fit is not None and _is_sure(way, start, fit, kernel_px):
            return fit
    return None


def refined(setting: Setting, fit: Fit, largest_px: float) -> Fit | None:
    """A readout that is nearly right already, with the last robust kernel; None where it leads away."""
    return _settled(_way(setting, fit.readout_s), fit, largest_px, is_wide=False)


def with_readout(setting: Setting, state: State, readout_s: float, kernel_px: float) -> Fit:
    """Poses and depth for a readout that is given."""
    for _ in range(ROUNDS):
        state = _way(setting, readout_s).solved(state, readout_s, kernel_px)
    return Fit(readout_s, state)


def shutter_of(fit: Fit) -> Shutter:
    """What is said of a fit."""
    return Shutter(fit.readout_s, fit.sigma_s, is_given=fit.profile is None)


def with_state(scene: Scene, state: State) -> Scene:
    """A scene with other cameras and depth of the same samples."""
    return replace(
        scene,
        world_from_cam=np.asarray(invert_rigid(state.cam_from_world).cpu()),
        intrinsics=np.asarray(state.intrinsics.cpu()),
        inverse_depth=np.asarray(state.inverse_depth.cpu()),
    )


def _way(setting: Setting, readout_s: float) -> Unrolling:
    return Unrolling(setting, is_upwards=readout_s < 0)


def _may_roll(setting: Setting, state: State) -> tuple[bool, ...]:
    """A first look, with some of the samples: the directions in which there may be a readout, the likelier first."""
    step = max(1, setting.problem.samples_px.shape[-1] // LOOK_SAMPLES)
    some = replace(setting, problem=setting.problem.thinned(step))
    state = replace(state, inverse_depth=state.inverse_depth[:, ::step].contiguous())
    kernel_px = _wide_px(some, state)
    state = some.task(state).solve(state, kernel_px)
    steps = {}
    for is_upwards in (False, True):
        found = Unrolling(some, is_upwards).profile(state, 0.0, kernel_px)
        ahead_s = -found.step_s if is_upwards else found.step_s
        if ahead_s > max(LEAST_S, LOOK_SIGMAS * found.sigma_s):
            steps[is_upwards] = ahead_s / found.sigma_s
    return tuple(sorted(steps, key=lambda way: -steps[way]))


def _wide_px(setting: Setting, state: State) -> float:
    """Scale of a kernel that holds most of what there is to explain, pixels."""
    low, high = WIDE_KERNEL_PX
    return max(low, min(high, WIDE_KERNELS * noise_kernel_px(setting.problem, state, high)))


def _settled(way: Unrolling, fit: Fit, largest_px: float, *, is_wide: bool) -> Fit | None:
    """Readout, poses and depth in turn until the readout does not change; None where it grows without end."""
    readout_s, state = fit.readout_s, fit.state
    most_s = float(np.median(np.diff(way.setting.video.timestamps_s)))
    for _ in range(ROUNDS):
        kernel_px = largest_px
        if not is_wide:
            still = way.corrected(state, readout_s).problem
            kernel_px = noise_kernel_px(still, state, largest_px)
        profile = way.profile(state, readout_s, kernel_px)
        if not np.isfinite(profile.sigma_s):
            return None
        if abs(profile.step_s) < SETTLED_S[is_wide]:
            break
        readout_s = float(np.clip(readout_s + profile.step_s, -most_s, most_s))
        state = way.solved(state, readout_s, kernel_px)
    return None if abs(readout_s) >= most_s else Fit(readout_s, state, profile)


def _is_sure(way: Unrolling, start: State, fit: Fit, kernel_px: float) -> bool:
    """Whether a readout is one: longer than it may be off, and regions that are left out are explained better by it."""
    profile = fit.profile
    assert profile is not None, "it was found"
    if abs(fit.readout_s) < max(LEAST_S, LEAST_SIGMAS * profile.sigma_s):
        return False
    kernel_px = noise_kernel_px(
        way.corrected(fit.state, fit.readout_s).problem, fit.state, kernel_px
    )
    task = way.corrected(start, 0.0).task(start)
    before = region_costs(task.problem, task.solve(start, kernel_px), kernel_px)
    apart = profile.without_s - profile.step_s
    after = profile.cost + profile.slope * apart + profile.bend / 2 * apart**2
    used = profile.is_used
    return bool((after < before)[used].mean() >= LEAST_REGIONS)
