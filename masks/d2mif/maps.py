"""What D2MIF's encoders of motion and geometry see of a pair of frames, as maps at the sampling of `Flow`.

Every geometric map follows from cameras, flow and the depth that they give, whatever backbone they came from: how far
the flow lies from that of a static world and how sure that is, how far from the epipolar line, how far apart the
two times' surface points are, and whether there is parallax to tell at all. Values are of the order of 1: lengths and
ratios as logarithms, evidence as log-odds over its limit.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from recon4d.core.geometry import (
    MIN_DEPTH_RATIO,
    relative_cameras,
    scene_rays,
    static_pixels,
)
from recon4d.core.pinhole import view_angle
from recon4d.core.sampling import sample_index
from recon4d.core.scene import Flow, Scene
from recon4d.core.tensors import flow_targets, sample_grid_px
from recon4d.flow.partners import is_slow
from recon4d.masks.evidence import (
    MAX_LOG_ODDS,
    MAX_TOTAL_LOG_ODDS,
    Surroundings,
    flow_variance,
)
from recon4d.masks.evidence.filters import gray
from recon4d.masks.evidence.plate import MAX_LOG_ODDS as MAX_PLATE
from recon4d.masks.evidence.texture import mahalanobis2, texture_covariance

PARTNER_OFFSETS = (2, 3, 1, 5, 8)
"""Frames apart, the preferred first: far enough for slow movers, near enough for flow that holds."""
SLOW_PARTNER_OFFSETS = (8, 16, 2, 1, 32)
"""The same where the picture hardly moves (`recon4d.flow.partners`)."""
MIN_TRUST = 0.1
"""Mean confidence of the flow below which another partner is preferred."""
TRUST_STEP = 8
"""Every how many samples that mean is taken over."""
LIMIT = 4.0
"""Maps are clipped to this; nothing beyond it tells more."""
AFFINE_STEPS = 5
"""Reweighted least-squares steps for the flow of most of the image."""
AFFINE_KERNEL_PX = 2.0
"""Scale of their robust kernel."""
AFFINE_STEP = 8
"""Every how many samples they use."""


EVIDENCE_UNIT = MAX_TOTAL_LOG_ODDS / 2
"""Log-odds of all evidence together that the last geometric map shows as 1."""


def partner_edges(
    flow: Flow, frame: int, offsets: tuple[int, ...] | None = None
) -> Int64[np.ndarray, " edges"]:
    """Choose one later and one earlier partner of a frame; two of the same side at the ends of a video.

    Args:
        flow: Edges that leave the frame are looked at.
        frame: The source.
        offsets: Frames apart, the preferred first; None: those that suit how fast the picture moves.

    Returns:
        Rows of `flow.edges`, none where the frame has no partner. Partners with which nearly all flow is inconsistent
        (after a cut, say) come last.
    """
    if offsets is None:
        offsets = SLOW_PARTNER_OFFSETS if is_slow(flow) else PARTNER_OFFSETS
    edges = np.flatnonzero(flow.edges[:, 0] == frame)
    edges = edges[np.isin(np.abs(flow.edges[edges, 1] - frame), offsets)]
    apart = flow.edges[edges, 1] - frame
    trust = np.array([flow.confidence[e, ::TRUST_STEP, ::TRUST_STEP].mean() for e in edges]) / 255

    def rank(at: int) -> tuple[bool, int]:
        return bool(trust[at] < MIN_TRUST), offsets.index(abs(int(apart[at])))

    order = sorted(range(len(edges)), key=rank)
    later, earlier = ([k for k in order if side * apart[k] > 0] for side in (1, -1))
    chosen = [*later[:1], *earlier[:1]] if later and earlier else order[:2]
    return edges[np.array(chosen, np.int64)]


def motion_maps(
    flow: Flow, edge: int
) -> tuple[Float[Tensor, "6 rows cols"], Float[Tensor, "rows cols"]]:
    """What the flow of one edge tells without geometry: it depends on no scene and is computed once.

    Returns:
        The flow, and what is left of it after the affine flow of most of the image, as signed logarithms (u, v each);
        the logarithm of that rest's length against its median; and the flow's confidence. Then the confidence alone.
    """
    moved = torch.from_numpy(np.ascontiguousarray(flow.flow_px[edge])).float()
    confidence = torch.from_numpy(np.ascontiguousarray(flow.confidence[edge])).float() / 255
    rest = moved - affine_flow(moved, confidence)
    length = torch.hypot(*rest.unbind(-1))
    relative = torch.log((length + 0.1) / (length.median() + 0.1))
    maps = (
        *_signed_log(moved).unbind(-1),
        *_signed_log(rest).unbind(-1),
        relative,
        2 * confidence - 1,
    )
    return torch.stack(maps).clamp_(-LIMIT, LIMIT), confidence


def affine_flow(
    moved: Float[Tensor, "rows cols 2"], confidence: Float[Tensor, "rows cols"]
) -> Float[Tensor, "rows cols 2"]:
    """Flow of the affine motion that most confident samples follow (iteratively reweighted least squares)."""
    rows, cols = confidence.shape
    v, u = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, cols), indexing="ij")
    basis = torch.stack((torch.ones_like(u), u, v), dim=-1)
    thin = (slice(AFFINE_STEP // 2, None, AFFINE_STEP),) * 2
    known, there = basis[thin].reshape(-1, 3), moved[thin].reshape(-1, 2)
    trust = confidence[thin].reshape(-1) + 1e-3
    weight = trust
    found = torch.zeros(3, 2)
    for _ in range(AFFINE_STEPS):
        normal = known.T @ (weight[:, None] * known) + 1e-6 * torch.eye(3)
        found = torch.linalg.solve(normal, known.T @ (weight[:, None] * there))
        off = (known @ found - there).square().sum(-1)
        weight = trust / (1 + off / AFFINE_KERNEL_PX**2) ** 2
    return basis @ found


def geometry_maps(
    flow: Flow,
    edge: int,
    scene: Scene,
    here: Surroundings,
    there_inverse_depth: Float32[np.ndarray, "rows cols"],
    image: UInt8[np.ndarray, "rows cols 3"],
) -> Float[Tensor, "12 rows cols"]:
    """What geometry tells about a pair (MuBe4D's 3D priors in the form that every backbone can give).

    Args:
        flow: Its edge `edge` is looked at.
        edge: Row of `flow.edges`.
        scene: Current cameras.
        here: Current depth of the source frame and evidence from all its partners.
        there_inverse_depth: Current inverse depth of the target frame.
        image: The source frame at the sampling of `Flow`.
    """
    rows, cols = here.inverse_depth.shape
    source, target = (int(k) for k in flow.edges[edge])
    rho = torch.from_numpy(here.inverse_depth).reshape(-1)
    pair = _pair_maps(flow, edge, scene, rho, texture_covariance(gray(image)), there_inverse_depth)
    middle = rho.median().clamp_min(1e-12)
    std = torch.from_numpy(here.inverse_depth_std).reshape(-1)
    unsure = torch.log((std / rho).nan_to_num(nan=1e3, posinf=1e3).clamp(1e-3, 1e3) / 0.1) / 2
    connected = scene.component[source] == scene.component[target] and bool(
        scene.is_posed[source] and scene.is_posed[target]
    )
    alone = (
        torch.log((rho / middle).clamp(1e-2, 1e2)),
        unsure,
        torch.from_numpy(here.flow_log_odds).reshape(-1) / MAX_LOG_ODDS,
        torch.from_numpy(here.plate_log_odds).reshape(-1) / MAX_PLATE,
        torch.from_numpy(here.log_odds).reshape(-1) / EVIDENCE_UNIT,
    )
    maps = torch.stack((*(p * connected for p in pair), *alone))
    return maps.clamp_(-LIMIT, LIMIT).reshape(-1, rows, cols)


def _pair_maps(
    flow: Flow,
    edge: int,
    scene: Scene,
    rho: Float[Tensor, " pixels"],
    texture: Float[Tensor, "3 rows cols"],
    there_inverse_depth: Float32[np.ndarray, "rows cols"],
) -> tuple[Float[Tensor, " pixels"], ...]:
    """Ego-flow and epipolar residual in sigmas, these in pixels, 3D displacement, depth change, parallax, trust."""
    rows, cols = there_inverse_depth.shape
    source, targets = int(flow.edges[edge, 0]), flow.edges[[edge], 1]
    turned, moved = (x[0] for x in relative_cameras(scene, source, targets))
    uv = sample_grid_px(rows, cols, torch.device("cpu"))
    ray = scene_rays(scene, source, uv)
    at_infinity, _ = static_pixels(turned, moved, ray, torch.zeros_like(rho))
    predicted, ratio = static_pixels(turned, moved, ray, rho)
    ratio = ratio.clamp_min(MIN_DEPTH_RATIO)
    there = torch.cat(flow_targets(flow, np.array([edge]), torch.device("cpu")))
    off, shift = predicted - there, predicted - at_infinity
    slope = moved[:2, None] - predicted * moved[2]
    along = slope / torch.hypot(*slope).clamp_min(1e-12)
    beside = torch.stack((-along[1], along[0]))
    variance = flow_variance(torch.hypot(*(there - uv.T))).reshape(1, rows, cols)
    sigmas, offline = (
        mahalanobis2((x[0].reshape(1, rows, cols), x[1].reshape(1, rows, cols)), texture, variance)
        .sqrt()
        .reshape(-1)
        for x in (off, beside * (beside * off).sum(0))
    )
    if not moved.any():  # two views from one place: there are no epipolar lines
        offline = sigmas
    sigma_px = (variance.reshape(-1) + texture[0].reshape(-1) + texture[2].reshape(-1)).sqrt()
    found = _look_up(there_inverse_depth, there) * ratio
    deeper = torch.log((found / rho.clamp_min(1e-12)).clamp(1e-2, 1e2))
    focal_px = torch.tensor(scene.intrinsics[source, 0]).float()
    apart = torch.hypot(view_angle(torch.hypot(*off), focal_px), torch.expm1(deeper.abs()))
    confidence = torch.from_numpy(np.ascontiguousarray(flow.confidence[edge])).float() / 255
    return (
        torch.log((sigmas + 0.05) / 2),
        torch.log((offline + 0.05) / 2),
        torch.log(sigma_px.clamp(0.1, 100)),
        torch.log(apart.clamp(1e-4, 10) / 0.03) / 2,
        2 * deeper,
        torch.log((torch.hypot(*shift) + 0.02) / 1.0) / 2,
        2 * confidence.reshape(-1) - 1,
    )


def _look_up(
    values: Float32[np.ndarray, "rows cols"], at_px: Float[Tensor, "2 pixels"]
) -> Float[Tensor, " pixels"]:
    """Values of samples at pixels, from the border where they lie outside."""
    rows, cols = values.shape
    u, v = sample_index(at_px.numpy()).reshape(2, rows, cols)
    found = cv2.remap(values, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(found).reshape(-1)


def _signed_log(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Sign(x) log(1 + |x|), x in pixels."""
    return x.sign() * x.abs().log1p()
