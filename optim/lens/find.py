"""Which lens a video was taken with: fitted to one half of the samples, judged by the other.

Numbers here that name no source were set by hand.
"""

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from recon4d.core.distortion import Bending
from recon4d.core.pinhole import view_angle
from recon4d.core.sampling import cell_of
from recon4d.core.scene import Flow, Scene, Video
from recon4d.optim.lens.fisheye import fisheye_start
from recon4d.optim.lens.objective import Lensed
from recon4d.optim.lens.search import Search, halves
from recon4d.optim.lens.solve import as_fisheye
from recon4d.optim.objective.normal_equations import SolveOptions, objective
from recon4d.optim.objective.problem import build_problem
from recon4d.optim.setting import USUAL_LENSES, AlignOptions

logger = logging.getLogger(__name__)

LEAST_GAIN = 0.003
"""Part of what a simpler camera leaves of the flow that was held out, that a lens must explain.
Rendered pinholes: at most .0012 (movers or none, 30 frames); k1 = -.02, a weak lens, with and without movers: .01."""
SECOND_GAIN = 0.01
"""The same of a second coefficient over one. Rendered lenses that have one: at most .0018; apple.mp4: .0035."""
TOLD_FOCAL, MOST_SMALL = 0.01, 0.1
"""A small lens that is not found is looked for again where the focal length beside it is known to no better than this
part, and the coefficient is below 0 by more than it may be off, and by no more than this. Rendered pinholes of 60
frames: .0040 at most; `kitchen_static` .023, and -.015 +- .011; movers before long lenses have positive ones."""
LEAST_SIGMAS = 3.5
"""A coefficient must be this many standard deviations from 0. Rendered k1 = -.02: 6, -.05: 15; the real camera of
`kitchen_static`: 3.7; what movers before long lenses make of eleven real clips, and explains enough: at most 3.1."""
CENTRE_SIGMAS = 5.0
"""The same of a principal point from the middle. Pictures that were cut out: 30 and more; the same clips: at most 4."""
HALF_SIGMAS = 2.5
"""The same of both by half of the samples, below which the others are not asked."""
CENTRE_GAIN = 0.01
"""The same of a principal point. Rendered pinholes: at most .0015; apple.mp4, which nobody cut: .0031; a picture that
was cut out of a larger one so that it is 30 % of a side off: .69."""
LEAST_OFF_CENTRE, MOST_OFF_CENTRE = 0.02, 0.5
"""Principal points that are nearer to the middle, as a part of the long side, stay there; and none is found farther
off, where no picture would be cut out. Set by hand."""

MOST_BENT = -0.1
"""First coefficient of a radial lens from which a fisheye is tried, too: an equidistant one has -1/3 in the middle."""
FISHEYE_GAIN = 0.1
"""Part of what a pinhole leaves of the flow that was held out, that a fisheye must explain which nobody asked for."""
WIDE = 0.7
"""Angle from the axis, radians, at which such a fisheye sees at least the middle of the picture's short sides (40
degrees); narrower ones hardly differ from a radial lens, which movers before a long lens pass for."""

BEYOND_REGIONS = 1.3
"""Standard deviations over those that regions of the image tell of first flow: it falls short alike in all of them, and
movers lead it. Makes the errors of focal length, lens and k1 of 10 clips 1 (root mean square; 71 % are less; 30 frames
at 256 px, still ones, a dancer, a crowd, k1 from -.3 to .1)."""

PARTS = slice(0, 1), slice(1, 3)
"""Of what all frames share: the first coefficient, the principal point."""
LEAST_FRAMES = 16
"""Of a video whose halves are asked one by one."""
MOST_APART = 0.5
"""Two halves of a video may differ in a coefficient, or in how far a principal point is off, by this part of what the
whole says: a lens stays what it is, a mover that a lens explains goes on. Principal points of DAVIS `drift-straight`:
.04; of `hike`, where a walker before a long lens had one 103 px off: .86."""
APART_SIGMAS = 3.0
"""... or, of a coefficient, by so many standard deviations of the whole's, where the expected difference has 2."""


@dataclass(frozen=True)
class FoundLens:
    """The lens of a video."""

    model: str
    """`pinhole`, `radial` or `fisheye`."""
    focal_px: float = 0.0
    """Pixels of the working size."""
    terms: tuple[float, ...] = ()
    """Coefficients k1, k2 of the model."""
    focal_std: float = 0.0
    """Standard deviation of its logarithm; of a pinhole, that of what a lens which is not told from none does to it."""
    terms_std: tuple[float, ...] = ()
    gain: float = 0.0
    """Part of what a pinhole leaves of the flow that was held out, that this explains."""
    centre_px: tuple[float, ...] = ()
    """Principal point (cx, cy) in pixels of the working size; empty: in the middle."""
    centre_std_px: tuple[float, ...] = ()
    may_bend: bool = False
    """Of a pinhole: its flow neither shows a small lens nor rules it out."""

    @property
    def is_usual(self) -> bool:
        """A pinhole with its principal point in the middle: nothing is to be done."""
        return self.model == "pinhole" and not self.centre_px

    @property
    def bending(self) -> Bending:
        """Its distortion."""
        return Bending(self.terms, self.model == "fisheye")

    def intrinsics(self, size: tuple[int, int], fy_over_fx: float) -> Float64[np.ndarray, "4"]:
        """fx, fy, cx, cy in pixels of the working size.

        Args:
            size: (width, height) of the working size.
            fy_over_fx: Of square pixels there.
        """
        cx, cy = self.centre_px or (size[0] / 2, size[1] / 2)
        return np.array([self.focal_px, self.focal_px * fy_over_fx, cx, cy])


PINHOLE = FoundLens("pinhole")


def find_lens(
    video: Video, flow: Flow, scene: Scene, options: AlignOptions, asked: str
) -> FoundLens:
    """Lens and principal point under which the flow of static samples fits together best, if better than usual ones.

    Args:
        video: The images as they came.
        flow: Between them.
        scene: First cameras and depth, found as if a pinhole had taken them.
        options: Of the optimizer.
        asked: `auto`, or the model whose best lens is taken, `radial` or `fisheye`.
    """
    if not (scene.component >= 0).any():
        return PINHOLE
    if asked == "fisheye":
        return _fisheye(video, flow, scene, options)
    trial = Trial(Search.of(flow, scene, options.kernel_px), scene, max(video.size))
    plain, bent = trial.pinhole(), trial.of(1, centre=False)
    found = _likeliest(trial, plain.left, bent, asked)
    if not found.is_usual:
        return found
    std = trial.half_std(bent)
    return replace(
        PINHOLE,
        gain=1 - bent.left / plain.left,
        focal_std=trial.doubt(plain, bent, BEYOND_REGIONS * std[0]),
        may_bend=std[0] > TOLD_FOCAL and std[1] < -bent.fitted.lens.terms[0] < MOST_SMALL,
    )


def _likeliest(trial: "Trial", usual: float, best: "Candidate", asked: str) -> FoundLens:
    """The lens among all that are tried.

    Args:
        trial: Compares them.
        usual: What a pinhole leaves.
        best: A lens with one coefficient.
        asked: See `find_lens`.
    """
    if asked == "auto" and min(best.fitted.lens.terms) <= MOST_BENT:
        wide = trial.fisheye(best, usual)
        if wide is not None:
            return wide
    is_found = asked != "auto" or best.left < (1 - LEAST_GAIN) * usual
    may_be_cut = not trial.scene.turns_only and trial.is_off(trial.search.first, [0.0, 0.0])
    if may_be_cut:
        off = trial.of(0, centre=True)
        if asked == "auto" and off.left < (1 - CENTRE_GAIN) * min(usual, best.left):
            best, is_found = off, True
    if not is_found:
        return PINHOLE
    more = trial.with_second(best)
    if asked == "auto" and not trial.may_be_sure(more):
        return PINHOLE
    if may_be_cut:
        both = trial.of(max(1, len(more.fitted.lens.terms)), centre=True)
        least = LEAST_GAIN if more.has_centre else CENTRE_GAIN
        more = both if both.left < (1 - least) * more.left else more
    return trial.settled(more, usual, asked)


def _fisheye(video: Video, flow: Flow, scene: Scene, options: AlignOptions) -> FoundLens:
    """The equidistant fisheye; a pinhole where nothing fits together behind one."""
    problem = build_problem(flow, cell_of(scene.samples_px))
    start = fisheye_start(problem, video, options)
    if start is None:
        return PINHOLE
    search = Search.from_start(problem, start, scene, options.kernel_px)
    at, std = search.whole_fit(search.first, centre=False)
    return FoundLens("fisheye", at.focal_px, focal_std=BEYOND_REGIONS * std[0])


@dataclass(frozen=True)
class Candidate:
    """A kind of lens, fitted to one half of the samples."""

    fitted: Lensed
    has_centre: bool
    left: float
    """What it leaves of the other half."""


@dataclass(frozen=True)
class Trial:
    """Compares lenses by flow that they were not fitted to."""

    search: Search
    scene: Scene
    long_side_px: int

    def of(self, terms: int, *, centre: bool) -> Candidate:
        """A lens with some coefficients, and a principal point that is free or in the middle."""
        return self._fitted(self.search.start(terms, centre=centre), centre)

    def _fitted(self, start: Lensed, centre: bool) -> Candidate:
        even, odd = halves(self.search.problem)
        fitted = self.search.fit(start, even, centre=centre)
        left = self.search.left(fitted, odd)
        place = fitted.state.intrinsics[0, 2:].tolist()
        logger.debug("%s, f %.1f, centre %s: %.5g", fitted.lens, fitted.focal_px, place, left)
        return Candidate(fitted, centre, left)

    def fisheye(self, radial: Candidate, usual: float) -> FoundLens | None:
        """An equidistant fisheye, where it explains clearly more than lenses that bend the plane; they fold it over."""
        found = self._fitted(as_fisheye(radial.fitted), centre=False)
        more = self.with_second(radial)
        least = min((1 - FISHEYE_GAIN) * usual, (1 - SECOND_GAIN) * more.left)
        half_across = view_angle(self.long_side_px / 2, found.fitted.focal_px)
        if not found.left < least or half_across < WIDE:
            return None
        at, std = self.search.whole_fit(found.fitted, centre=False)
        gain = 1 - found.left / usual
        return FoundLens("fisheye", at.focal_px, focal_std=BEYOND_REGIONS * std[0], gain=gain)

    def half_std(self, found: Candidate) -> list[float]:
        """Standard deviations of what all frames share, by the samples that a lens is fitted to."""
        even, _ = halves(self.search.problem)
        half = replace(self.search, problem=self.search.problem.chosen(even))
        return half.std(found.fitted.of(even), replace(self.search.free, centre=found.has_centre))

    def may_be_sure(self, found: Candidate) -> bool:
        """Whether a lens may be significant, by the samples that it is fitted to."""
        terms, std = found.fitted.lens.terms, self.half_std(found)
        sure = zip(terms, std[1:-2], strict=True)
        is_off = found.has_centre and self.is_off(found.fitted, std[-2:], HALF_SIGMAS)
        return is_off or any(abs(term) >= HALF_SIGMAS * sigma for term, sigma in sure)

    def pinhole(self) -> Candidate:
        """Cameras without a lens; those that zoom stay as they were found."""
        search = self.search
        if not self.scene.zooms:
            return self.of(0, centre=False)
        odd = halves(search.problem)[1]
        state = search.state_of(self.scene)
        at = Lensed(state, Bending(()))
        state = replace(state, inverse_depth=state.inverse_depth[:, odd].contiguous())
        options = SolveOptions(kernel_px=search.kernel_px)
        return Candidate(at, False, objective(search.problem.chosen(odd), state, options))

    def doubt(self, plain: Candidate, bent: Candidate, std: float) -> float:
        """Standard deviation of a pinhole's log focal length for a lens that is not told from none.

        It is what the lens would move it by, or how little that is known, whichever is more; 0 of cameras that zoom.
        """
        if self.scene.zooms or not math.isfinite(std):
            return 0.0
        return max(std, abs(math.log(bent.fitted.focal_px / plain.fitted.focal_px)))

    def with_second(self, best: Candidate) -> Candidate:
        """The same with a second coefficient, where that explains more."""
        if not best.fitted.lens.terms:
            return best
        more = self._fitted(best.fitted.with_term(), best.has_centre)
        return more if more.left < (1 - SECOND_GAIN) * best.left else best

    def settled(self, best: Candidate, usual: float, asked: str) -> FoundLens:
        """The lens that all samples tell, without the parts of it that are not sure."""
        at, std = self.search.whole_fit(best.fitted, centre=best.has_centre)
        terms, terms_std = at.lens.terms, tuple(std[1:-2])
        sure = [
            abs(term) >= LEAST_SIGMAS * sigma for term, sigma in zip(terms, terms_std, strict=True)
        ]
        keeps = len(terms) if any(sure) or asked != "auto" else 0
        if len(terms) == 2 and keeps and not sure[1]:
            keeps = 1
        centre = best.has_centre and self.is_off(at, std[-2:])
        if asked == "auto":
            lasts = self._lasts(at, terms_std, centre=best.has_centre)
            keeps, centre = keeps * lasts[0], centre and lasts[1]
        if keeps != len(terms) or centre != best.has_centre:
            if not keeps and not centre:
                return PINHOLE
            less = self.of(keeps, centre=centre)
            at, std = self.search.whole_fit(less.fitted, centre=centre)
            best = less
        least, most = USUAL_LENSES  # beyond, coefficients of thousands pass for what movers do
        if asked == "auto" and not least <= at.focal_px / self.long_side_px <= most:
            return PINHOLE
        stated = [BEYOND_REGIONS * each for each in std]
        return FoundLens(
            "radial" if keeps else "pinhole",
            at.focal_px,
            at.lens.terms,
            stated[0],
            tuple(stated[1:-2]),
            1 - best.left / usual,
            tuple(at.state.intrinsics[0, 2:].tolist()) if centre else (),
            tuple(stated[-2:]) if centre else (),
        )

    def _lasts(
        self, at: Lensed, terms_std: tuple[float, ...], *, centre: bool
    ) -> tuple[bool, bool]:
        """Whether the halves of the video, each alone, agree in the first coefficient, and in the principal point."""
        frames = len(at.state.intrinsics)
        if frames < LEAST_FRAMES:
            return True, True
        even, _ = halves(self.search.problem)
        said = [self._shared(at)]
        for first, last in ((0, frames // 2), (frames // 2, frames)):
            part, start = self.search.over(first, last, at)
            said.append(self._shared(part.fit(start, even, centre=centre)))
        logger.debug("the whole video and its halves: %s, %s, %s", *said)
        whole, early, late = said
        apart, most = early - late, MOST_APART * whole
        spread = APART_SIGMAS * float((*terms_std, 0.0)[0])
        is_one = [
            float(apart[k].norm()) <= max(least, float(most[k].norm()))
            for k, least in zip(PARTS, (spread, 0.0), strict=True)
        ]
        return is_one[0], is_one[1]

    def _shared(self, at: Lensed) -> Float64[Tensor, "3"]:
        """The first coefficient, 0 where there is none, and how far the principal point is off."""
        first = torch.tensor((*at.lens.terms, 0.0)[:1], dtype=torch.float64)
        off = at.state.intrinsics[0, 2:].double() - torch.from_numpy(self.search.middle_px)
        return torch.cat((first, off))

    def is_off(self, at: Lensed, std: list[float], sigmas: float = CENTRE_SIGMAS) -> bool:
        """Whether the principal point is surely not in the middle, and where a picture may be cut out."""
        off = (at.state.intrinsics[0, 2:] - torch.from_numpy(self.search.middle_px)).abs()
        least, most = (part * self.long_side_px for part in (LEAST_OFF_CENTRE, MOST_OFF_CENTRE))
        away = zip(off.tolist(), std, strict=True)
        return float(off.max()) <= most and any(px >= max(least, sigmas * sd) for px, sd in away)
