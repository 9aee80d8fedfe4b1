"""The optimizer away from the CPU: without a CUDA device, that nothing waits or mixes devices; with one, its result."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode

from recon4d.core.geometry import exp_se3
from recon4d.core.tensors import map_tensors, on_device
from recon4d.optim.objective.camera_terms import GivenPoses, SharedFocal, Smoothness, focal_term
from recon4d.optim.objective.normal_equations import SolveOptions, linearise
from recon4d.optim.objective.problem import Problem
from recon4d.optim.objective.unknowns import Freedom, State
from recon4d.optim.pairwise import PairOptions, align_pairs
from recon4d.optim.solve.band import Layout, solve_banded, solve_block_tridiagonal
from recon4d.optim.solve.solver import attempt, solve
from tests import needs
from tests.pairs_world import PairsWorld
from tests.paths import relative_ate

FRAMES, SLOTS, SAMPLES = 6, 4, 9


def measurements() -> tuple[Problem, State]:
    """A problem of single precision with everything that the objective can hold."""
    g = torch.Generator().manual_seed(3)
    partners = torch.tensor(
        [[(n + k) % FRAMES for k in range(1, SLOTS + 1)] for n in range(FRAMES)]
    )
    uv = torch.rand((FRAMES, 2, SAMPLES), generator=g) * 60 + 2
    ones = torch.ones((FRAMES, SAMPLES))
    poses = exp_se3(0.05 * torch.randn((FRAMES, 6), generator=g).double())
    given = torch.tensor([0.0, 5.0, 0.0, 0.0, 2.0, 0.0]).double()
    problem = Problem(
        samples_px=uv,
        partners=partners,
        targets_px=uv[:, None] + torch.randn((FRAMES, SLOTS, 2, SAMPLES), generator=g),
        weight=torch.rand((FRAMES, SLOTS, SAMPLES), generator=g),
        prior_inverse_depth=0.5 * ones,
        prior_weight=0.7 * ones,
        terms=(
            GivenPoses(torch.linalg.inv(poses), centre_px=given, turn_px=2 * given),
            Smoothness(1.0, torch.tensor(0.5)),
        ),
    )
    intrinsics = torch.tensor([60.0, 60.0, 32.0, 32.0]).double().repeat(FRAMES, 1)
    gains = torch.zeros(FRAMES).double()
    return problem, State(
        poses, 0.4 + 0.2 * torch.rand(uv[:, 0].shape, generator=g), intrinsics, gains
    )


class Indexing(TorchFunctionMode):
    """Indexing in terms of operators: torch's own way asks a build without CUDA for the device's guard."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__getitem__:
            return view(*args)
        if func is Tensor.__setitem__:
            there, index, value = args
            part = view(there, index)
            change = torch.ops.aten.copy_ if isinstance(value, Tensor) else torch.ops.aten.fill_
            return change(part, value)
        if func is Tensor.__invert__:
            return torch.ops.aten.bitwise_not(*args)
        return func(*args, **(kwargs or {}))


def view(tensor: Tensor, index: Any) -> Tensor:
    """`tensor[index]`."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [x for x in items if not isinstance(x, Tensor)]:
        at = next(i for i, x in enumerate(items) if x is Ellipsis)
        used = sum(x is not None and x is not Ellipsis for x in items)
        items[at : at + 1] = [slice(None)] * (tensor.dim() - used)
    dim, picked = 0, {}
    for item in items:
        if item is None:
            tensor = tensor.unsqueeze(dim)
        elif isinstance(item, int):
            tensor = tensor.select(dim, item)
            continue
        elif isinstance(item, slice):
            low, high, step = item.indices(tensor.shape[dim])
            tensor = torch.ops.aten.slice(tensor, dim, low, max(low, high), step)
        else:
            picked[dim] = torch.as_tensor(item) if isinstance(item, list) else item
        dim += 1
    if not picked:
        return tensor
    found: Tensor = torch.ops.aten.index(tensor, [picked.get(d) for d in range(max(picked) + 1)])
    return found


@pytest.mark.parametrize("shared_focal", [True, False])
def test_an_iteration_neither_waits_for_the_device_nor_mixes_devices(shared_focal: bool) -> None:
    """Under a fake CUDA device `.item()`, `.cpu()` to numpy, and tensors of two devices all raise."""
    problem, state = measurements()
    options = SolveOptions(
        kernel_px=1.0,
        free_focal=True,
        shared_focal=shared_focal,
    )
    problem = problem.with_terms(focal_term(50.0, shared=shared_focal))
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    layout = Layout.of(problem, options)
    with FakeTensorMode(), Indexing():

        def there(tensor: Tensor) -> Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")

        problem, state = map_tensors(problem, there), map_tensors(state, there)
        freedom, layout = map_tensors(freedom, there), map_tensors(layout, there)
        local = linearise(problem, state, freedom, options)
        trial, tried = attempt(problem, local, state, freedom, options, 1e-3, layout)
        assert tried.cost.device.type == trial.cam_from_world.device.type == "cuda"
        assert trial.inverse_depth.shape == state.inverse_depth.shape
        with pytest.raises(RuntimeError):
            float(tried.cost)  # the check works: waiting for the device is noticed ...
        with pytest.raises(RuntimeError, match="device"):
            trial.inverse_depth + torch.zeros(SAMPLES)  # ... and so are tensors of two devices


def random_band(bandwidth: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """A positive definite band in LAPACK's lower storage, and the dense matrix."""
    g = torch.Generator().manual_seed(seed)
    factor = torch.randn((size, size), generator=g).double().tril().triu(-bandwidth)
    dense = factor @ factor.T + 0.1 * torch.eye(size)
    band = torch.zeros((bandwidth + 1, size)).double()
    for k in range(bandwidth + 1):
        band[k, : size - k] = dense.diagonal(-k)
    return band, dense


@pytest.mark.parametrize(
    ("bandwidth", "size"), [(11, 60), (11, 66), (5, 6), (17, 18), (29, 47), (1, 5)]
)
def test_both_ways_to_solve_a_band_agree_with_a_dense_solve(bandwidth: int, size: int) -> None:
    band, dense = random_band(bandwidth, size, bandwidth)
    rhs = torch.randn((size, 2), generator=torch.Generator().manual_seed(1)).double()
    wanted = torch.linalg.solve(dense, rhs)
    # condition numbers are below 1e5, so that 11 digits are left
    for found in (solve_banded(band, rhs), solve_block_tridiagonal(band, rhs)):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_both_ways_call_an_indefinite_band_nan() -> None:
    band, _ = random_band(11, 60, 0)
    band[0, 40] = -1.0
    rhs = torch.ones((60, 1)).double()
    assert solve_banded(band, rhs).isnan().all()
    assert solve_block_tridiagonal(band, rhs).isnan().all()


@pytest.mark.gpu
@needs.cuda
def test_pairs_are_aligned_as_well_on_cuda() -> None:
    world = PairsWorld()
    here, there = (
        relative_ate(
            align_pairs(world.pairs, PairOptions(device=name)).world_from_cam, world.world_from_cam
        )
        for name in ("cpu", "cuda")
    )
    assert there == pytest.approx(here, rel=0.02)  # the bound that was set for every scene


@pytest.mark.gpu
@needs.cuda
def test_the_optimum_is_the_same_on_cuda() -> None:
    problem, state = measurements()
    options = SolveOptions(kernel_px=1.0, free_focal=True)
    problem = problem.with_terms(SharedFocal(50.0))
    freedom = Freedom.all_but_first(FRAMES, torch.device("cpu"))
    here = solve(problem, state, freedom, options)
    cuda = torch.device("cuda")
    there = solve(
        on_device(problem, cuda), on_device(state, cuda), on_device(freedom, cuda), options
    )
    torch.testing.assert_close(there.cam_from_world.cpu(), here.cam_from_world, rtol=0, atol=1e-4)
