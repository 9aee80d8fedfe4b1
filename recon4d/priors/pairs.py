"""What DUSt3R, MonST3R and Align3R say about a video: pointmaps of its pairs, aligned into one depth prior.

Numbers here that name no source were set by hand.
"""

from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int64, UInt8
from torch import Tensor

from recon4d.core.arrays import create_array
from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.sampling import in_samples, sample_place
from recon4d.core.scene import FLOW_STRIDE, DepthPrior, Flow, Video
from recon4d.networks.croco.align3r_points import mono_notice, point_maps
from recon4d.networks.croco.input import network_images, network_size
from recon4d.networks.croco.load import load_croco
from recon4d.networks.croco.network import Croco
from recon4d.networks.croco.pairs import PairInference, predict_pairs
from recon4d.optim.pairwise import AlignedPairs, PairOptions, align_pairs
from recon4d.optim.pairwise.pairs import Pairs
from recon4d.priors import Prior, Question
from recon4d.weights.resolve import Resources

MIN_SIGMA = 0.01
"""No network's depth is known better than this, relative: its errors are smooth, and the same in all pairs."""


@torch.no_grad()
def pair_prior(question: Question) -> DepthPrior:
    """Pointmaps of every pair of frames that has flow, aligned with that flow (`recon4d.optim.pairwise`).

    Raises:
        ConfigError: The weights do not fit.
        DegenerateError: The pointmaps do not fit to each other.
    """
    network = load_croco(question.weights, question.device)
    _check_kind(network, question)
    pairs = predicted_pairs(network, question)
    try:
        aligned = align_pairs(pairs, PairOptions(device=question.device))
    except DegenerateError as error:
        raise DegenerateError(
            f"the pointmaps of {question.weights.name} do not make a scene: {error}"
        ) from error
    prior = prior_of(aligned, question.video)
    if question.mono is None:
        return prior
    return replace(prior, notices=(mono_notice(question.mono), *prior.notices))


def _check_kind(network: Croco, question: Question) -> None:
    is_align3r, wanted = network.config.point_cloud, question.mono is not None
    if is_align3r != wanted:
        kinds = "Align3R's", "DUSt3R's or MonST3R's"
        found, needed = kinds if is_align3r else kinds[::-1]
        raise ConfigError(
            f"the weights {question.weights} are {found}, and --geometry asks for {needed}; "
            f"give --geometry {'align3r' if is_align3r else 'dust3r or monst3r'}, or other weights"
        )


def predicted_pairs(network: Croco, question: Question) -> Pairs:
    """Pointmaps and confidences at the samples of `Flow`, as memory maps in the folder of the question."""
    video, flow = question.video, question.flow
    rows, cols = flow.confidence.shape[1:]
    shape = (len(flow.edges), rows, cols)

    def array(name: str, *more: int) -> Float32[np.ndarray, "..."]:
        return create_array(question.folder / f"{name}.npy", np.float32, (*shape, *more))

    first, second = array("points1", 3), array("points2", 3)
    first_confidence, second_confidence = array("confidence1"), array("confidence2")
    size = network_size(video.size)
    u, v = sample_indices(video.size, (cols, rows), size)
    edges = [(int(n), int(m)) for n, m in flow.edges]
    options = PairInference(half=question.device == "cuda")
    images = network_images(video.images, size)
    points = point_maps(network, video.images, size, question.mono, question.progress)
    with question.progress("pointmaps", total=len(edges)) as counter:
        for e, found in enumerate(predict_pairs(network, images, edges, options, points)):
            first[e], second[e] = (_taken(x, u, v) for x in (found.points1, found.points2))
            first_confidence[e] = _taken(found.confidence1, u, v)
            second_confidence[e] = _taken(found.confidence2, u, v)
            counter.advance()
    return Pairs(
        images=_thinned(video.images, (cols, rows)),
        edges=np.asarray(flow.edges),
        source_points=first,
        target_points=second,
        source_confidence=first_confidence,
        target_confidence=second_confidence,
        flow_px=_pair_flow(flow),
    )


def sample_indices(
    size: tuple[int, int], samples: tuple[int, int], network: tuple[int, int]
) -> tuple[Int64[np.ndarray, " cols"], Int64[np.ndarray, " rows"]]:
    """Columns and rows of the network's pixels in which the samples of `Flow` lie.

    Args:
        size: (width, height) of the working size.
        samples: (cols, rows) of `Flow`.
        network: (width, height) of the network's images.
    """
    found = []
    for side, count, wanted in zip(size, samples, network, strict=True):
        place = sample_place(np.arange(count)) * wanted / side
        found.append(np.minimum(place.astype(np.int64), wanted - 1))
    return found[0], found[1]


def prior_of(aligned: AlignedPairs, video: Video) -> DepthPrior:
    """The aligned depth at the working size; pixels that nothing measured are unknown."""
    shape = (video.num_frames, video.size[1], video.size[0])
    depth, sigma = np.empty(shape, np.float32), np.empty(shape, np.float16)
    for frame in range(video.num_frames):
        z, std = aligned.depth[frame], aligned.depth_std[frame]
        relative = np.where(np.isfinite(std), np.maximum(std / z, MIN_SIGMA), 1.0)
        known = _enlarged(np.isfinite(std).astype(np.float32), video.size) > 0.99
        depth[frame] = np.where(known, _enlarged(z, video.size), 0.0)
        sigma[frame] = _enlarged(relative.astype(np.float32), video.size)
    focal = float(np.median(aligned.focal_px)) * FLOW_STRIDE
    return DepthPrior(depth, False, sigma, focal, aligned.notices)


def _taken(
    values: Float[Tensor, "height width *_"],
    u: Int64[np.ndarray, " cols"],
    v: Int64[np.ndarray, " rows"],
) -> Float32[np.ndarray, "rows cols *_"]:
    return np.asarray(values.float().cpu().numpy()[np.ix_(v, u)])


def _thinned(
    images: UInt8[np.ndarray, "frames height width 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "frames rows cols 3"]:
    return np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])


def _pair_flow(flow: Flow) -> Float16[np.ndarray, "edges 2 rows cols"]:
    """Flow in pixels of its own sampling; not a number where it is not to be trusted."""
    out = np.empty((len(flow.edges), 2, *flow.confidence.shape[1:]), np.float16)
    for e in range(len(flow.edges)):
        found = in_samples(np.asarray(flow.flow_px[e], np.float32)).transpose(2, 0, 1)
        out[e] = np.where(flow.confidence[e] > 0, found, np.nan)
    return out


def _enlarged(
    values: Float32[np.ndarray, "rows cols"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))


def make(resources: Resources) -> Prior:
    """The network of `--geometry`, one of the CroCo family."""
    return Prior(pair_prior, resources.backbone(resources.geometry), resources.device)
