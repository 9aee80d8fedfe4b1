"""RAFT against torchvision's numbers; the weights follow from a recipe in the description of the fixture."""

import numpy as np
import torch
from torch import Tensor

from benchmarks.parity import Compared, Fixture
from recon4d.flow.raft import config_of, network_of
from recon4d.weights_file import WeightsFile

FLOW_ATOL_PX = 2e-4
"""The fixtures' README: random weights amplify rounding."""
FEATURE_ATOL = 3e-5
"""The README suggests 1e-5, but the official numbers themselves, in float32 and up to 12, are 2.1e-5 from the same
network in float64; ours are 1.8e-5 from it."""


def recipe_weights(fixture: Fixture) -> WeightsFile:
    """The state dict as the fixture's description makes it: one generator per key, in the order of the keys."""
    shapes, seed = fixture.described["state_dict"], fixture.described["seed"]
    state = {
        key: _made(key, tuple(shapes[key]), np.random.default_rng([seed, i]))
        for i, key in enumerate(sorted(shapes))
    }
    return WeightsFile(fixture.path, state)


def _made(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    noise = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    if key.endswith("running_var"):
        return (0.2 * noise).exp()
    if len(shape) > 1:
        return noise.div(noise[0].numel() ** 0.5)
    return noise.mul(0.2).add(1) if key.endswith("weight") else noise.mul(0.1)


@torch.no_grad()
def compare(fixture: Fixture) -> list[Compared]:
    """Features of both images, and the flow after every update."""
    weights = recipe_weights(fixture)
    network = network_of(weights, config_of(weights))
    source, target = (network.encode(fixture.tensor(f"in/image{k}")) for k in (1, 2))
    features = torch.cat((source.features, target.features)).numpy()
    found = [Compared("fmap", features, fixture.arrays["fmap"], FEATURE_ATOL)]
    count = fixture.described["num_flow_updates"]
    for k, flow in enumerate(network.flow(source, target, count)):
        name = f"flow/update{k}"
        found.append(Compared(name, flow.numpy(), fixture.arrays[name], FLOW_ATOL_PX))
    return found
