"""Calibration of the masks: after it, of the pixels with probability p, a part p moves.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.masks.d2mif.maps import EVIDENCE_UNIT
from recon4d.masks.d2mif.network import D2mif
from recon4d.masks.d2mif.weights import Calibration
from recon4d.masks.train.d2mif.fit import predictions
from recon4d.masks.train.d2mif.samples import Samples

EVERY = 7
"""Every so-manieth sample in each direction is used: neighbours say the same."""
MAX_STEPS = 100
"""Steps of L-BFGS at most."""
BINS = 10
"""Ranges of stated probability, equally wide, in which it is compared with how often something moves."""


@dataclass(frozen=True)
class _Pixels:
    """Samples of all frames of some clips."""

    network: Float[Tensor, " pixels"]
    """Log-odds of motion by the network."""
    evidence: Float[Tensor, " pixels"]
    """The same by what needs no network; 0 for a network that does without geometry."""
    truth: Float[Tensor, " pixels"]
    """Part that moves."""


def calibrate(network: D2mif, clips: Sequence[Samples], device: str = "cpu") -> Calibration:
    """Weights of the two kinds of log-odds, and a shift, that make the truth of some clips most likely.

    Logistic regression on the two (Platt, 1999, for the network alone).
    """
    pixels = _gather(network, clips, device)
    start = Calibration()
    values = [
        torch.tensor([v], requires_grad=True) for v in (start.scale, start.evidence, start.shift)
    ]
    solver = torch.optim.LBFGS(values, max_iter=MAX_STEPS, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        solver.zero_grad()
        scale, evidence, shift = values
        log_odds = scale * pixels.network + evidence * pixels.evidence + shift
        loss = torch.nn.functional.binary_cross_entropy_with_logits(log_odds, pixels.truth)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(cost)  # type: ignore[no-untyped-call]
    return Calibration(*(float(v.detach()) for v in values))


def calibration_error(
    network: D2mif, clips: Sequence[Samples], calibration: Calibration, device: str = "cpu"
) -> float:
    """Mean distance of predicted and found share of moving pixels over bins of the probability (Guo et al., 2017)."""
    pixels = _gather(network, clips, device)
    log_odds = calibration(pixels.network.numpy(), pixels.evidence.numpy())
    probability = torch.sigmoid(torch.from_numpy(log_odds))
    which = (probability * BINS).long().clamp(max=BINS - 1)
    error = 0.0
    for index in range(BINS):
        inside = which == index
        if inside.any():
            apart = (probability[inside].mean() - pixels.truth[inside].mean()).abs()
            error += float(apart * inside.float().mean())
    return error


def _gather(network: D2mif, clips: Sequence[Samples], device: str) -> _Pixels:
    network.eval()
    thin = (slice(None), slice(None, None, EVERY), slice(None, None, EVERY))
    has_geometry = "geometry" in network.config.branches
    parts = []
    with torch.no_grad():
        for found, batch in predictions(network, clips, device):
            evidence = batch.geometry[:, 0, -1] * (EVIDENCE_UNIT * has_geometry)
            known = torch.ones_like(batch.truth) if batch.known is None else batch.known
            chosen = known[thin].reshape(-1).cpu() > 0
            columns = (found, evidence, batch.truth)
            parts.append([x[thin].reshape(-1).cpu()[chosen] for x in columns])
    return _Pixels(*(torch.cat(column) for column in zip(*parts, strict=True)))
