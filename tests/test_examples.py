"""The recipes in examples/: each is one file, and works as a plug-in of another package."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from recon4d.core.geometry import exp_se3
from recon4d.optim.objective.unknowns import State
from recon4d.results.folder import read_result
from tests.media import write_images
from tests.synthetic import make_scene

EXAMPLES = Path(__file__).parents[1] / "examples"
PLUGIN = """\
[recon4d.masks]
unusual = add_a_mask_method
[recon4d.flow]
farneback = add_a_flow_method
[recon4d.geometry]
floor = add_a_backbone
[recon4d.export]
csv = add_an_export
ply = add_an_export
"""


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which a package with the examples is installed."""
    info = tmp_path / "site/examples_of_recon4d-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: examples-of-recon4d\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(PLUGIN)
    paths = (tmp_path / "site", EXAMPLES, EXAMPLES.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def recon4d(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recon4d", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_methods_of_another_package_are_those_of_the_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    made, out = make_scene(6, (128, 96), seed=1), tmp_path / "out"
    images = write_images(tmp_path / "images", made.video.images)
    chosen = ("--masks", "unusual", "--flow", "farneback", "--geometry", "floor")
    done = recon4d(environment, "run", str(images), "--out", str(out), "--loop", "1", *chosen)
    assert done.returncode == 0, done.stderr
    result = read_result(out)
    assert [result.run[key] for key in ("masks", "flow", "geometry")] == list(chosen[1::2])
    assert (result.depth > 0).any()
    done = recon4d(environment, "export", str(out), "--to", "csv")
    assert done.returncode == 0, done.stderr
    table = np.loadtxt(out / "export/csv/cameras.csv", delimiter=",", skiprows=1, ndmin=2)
    np.testing.assert_allclose(table[:, 1:], result.world_from_cam[:, :3, 3], atol=1e-8)


def test_help_and_refusals_know_them(environment: dict[str, str], tmp_path: Path) -> None:
    said = recon4d(environment, "run", "--help").stdout
    assert "geomotion|unusual" in said and "dis|raft|farneback" in said
    done = recon4d(environment, "run", "x", "--masks", "unusal", "--out", str(tmp_path / "o"))
    assert done.returncode == 2 and "did you mean 'unusual'?" in done.stderr


def test_the_gravity_term_has_the_right_gradient_and_straightens_cameras() -> None:
    """Finite differences in float64 of a left twist: 1e-6 of the gradient."""
    module, made = example("add_a_loss_term"), make_scene(6, (128, 96), seed=2)
    state = State.of(made.scene)
    down = torch.nn.functional.normalize(torch.randn(6, 3, dtype=torch.float64), dim=1)
    term = module.Gravity(down[0], down)
    (rows,) = term.linear(state).rows
    gradient = (rows.jacobian[:, 0].transpose(1, 2) @ rows.residual[..., None])[..., 0]
    for frame in range(6):
        for axis in range(3):
            cost = []
            for step in (1e-6, -1e-6):
                turn = exp_se3(step * torch.eye(6, dtype=torch.float64)[axis])
                moved = state.cam_from_world.clone()
                moved[frame] = turn @ moved[frame]
                cost.append(float(term.linear(replace(state, cam_from_world=moved)).cost))
            assert (cost[0] - cost[1]) / 2e-6 == pytest.approx(
                float(gradient[frame, axis]), rel=1e-6, abs=1e-4
            )

    true = made.scene.world_from_cam[:, :3, :3]
    in_camera = true.transpose(0, 2, 1)[:, :, 1]  # the world's y is down
    rolled = made.scene.world_from_cam.copy()
    rolled[3, :3, :3] = rolled[3, :3, :3] @ np.asarray(
        exp_se3(torch.tensor([0.0, 0, 0.1, 0, 0, 0]))[:3, :3]
    )
    start = replace(made.scene, world_from_cam=rolled)
    found = module.with_gravity(made.video, made.flow, start, in_camera)
    there = found.world_from_cam[:, :3, :3].transpose(0, 2, 1) @ found.world_from_cam[0, :3, :3]
    off = np.arccos(np.clip(np.einsum("nij,j,ni->n", there, in_camera[0], in_camera), -1, 1))
    assert np.degrees(off).max() < 0.5  # it was rolled by 5.7; flow of 128 px tells rotations to .1


def test_the_example_of_a_term_runs(shared_data: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "add_a_loss_term.py"),
            str(shared_data / "videos/apple.mp4"),
        ],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "with gravity" in done.stdout


def test_a_package_cannot_replace_a_method_of_ours(environment: dict[str, str]) -> None:
    code = (
        "import json; from recon4d.choices import table; "
        "print(json.dumps({k: v.module for k, v in table('export').items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["csv"] == "add_an_export" and found["ply"] == "recon4d.export.clouds"
