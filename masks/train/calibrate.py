"""Calibration of the network's output: after it, of the pixels with probability p, a part p moves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recon4d.masks.network import D2mif
from recon4d.masks.train.fit import predictions
from recon4d.masks.train.samples import Samples
from recon4d.masks.weights import Calibration

EVERY = 7
"""Every so-manieth sample in each direction is used: neighbours say the same."""
MAX_STEPS = 100
BINS = 10


def calibrate(network: D2mif, clips: Sequence[Samples], device: str = "cpu") -> Calibration:
    """Scale and shift of the log-odds that make the truth of some clips most likely (Platt, 1999)."""
    log_odds, truth = _gather(network, clips, device)
    scale, shift = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    solver = torch.optim.LBFGS([scale, shift], max_iter=MAX_STEPS, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scale * log_odds + shift, truth)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(cost)  # type: ignore[no-untyped-call]
    return Calibration(float(scale.detach()), float(shift.detach()))


def calibration_error(
    network: D2mif, clips: Sequence[Samples], calibration: Calibration, device: str = "cpu"
) -> float:
    """Mean distance of predicted and found share of moving pixels over bins of the probability (Guo et al., 2017)."""
    log_odds, truth = _gather(network, clips, device)
    probability = torch.sigmoid(calibration.scale * log_odds + calibration.shift)
    which = (probability * BINS).long().clamp(max=BINS - 1)
    error = 0.0
    for index in range(BINS):
        inside = which == index
        if inside.any():
            apart = (probability[inside].mean() - truth[inside].mean()).abs()
            error += float(apart * inside.float().mean())
    return error


def _gather(network: D2mif, clips: Sequence[Samples], device: str) -> tuple[Tensor, Tensor]:
    network.eval()
    thin = (slice(None), slice(None, None, EVERY), slice(None, None, EVERY))
    with torch.no_grad():
        parts = [
            (found[thin].reshape(-1).cpu(), batch.truth[thin].reshape(-1).cpu())
            for found, batch in predictions(network, clips, device)
        ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
