"""Tiny networks of pi3, and what a perfect one would say of a synthetic scene."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from recon4d.core.similarity import Similarity
from recon4d.demo.render import pixel_grid
from recon4d.networks.pi3.config import Pi3Config
from recon4d.networks.pi3.network import Pi3, Predicted
from tests.synthetic import SyntheticScene

TINY = Pi3Config(
    dim=16,
    head_dim=8,
    mlp_ratio=2.0,
    enc_depth=1,
    enc_registers=2,
    grid=3,
    depth=4,
    registers=3,
    head_depth=1,
    point_dim=12,
    conf_dim=8,
    camera_dim=10,
)


def tiny(seed: int = 0) -> Pi3:
    """A network of random weights whose points are neither tiny nor huge."""
    torch.manual_seed(seed)
    network = Pi3(TINY).eval()
    for name, value in network.named_parameters():
        if "token" in name or "pos_embed" in name:
            torch.nn.init.normal_(value, std=0.5)
    return network


def true_views(world: SyntheticScene, size: tuple[int, int], scale: float) -> Predicted:
    """Points and poses in a world of their own, every confidence one half.

    Args:
        world: Its video may have another size.
        size: (width, height) of the network's images.
        scale: Of all lengths.
    """
    scene, video = world.scene, world.video
    places = pixel_grid(size) * (np.array(video.size) / size)
    points = []
    for frame in range(video.num_frames):
        z = world.exact_depth(frame, places.reshape(-1, 2)).reshape(size[1], size[0], 1)
        fx, fy, cx, cy = scene.intrinsics[frame]
        planar = (places - (cx, cy)) / (fx, fy)
        points.append(scale * z * np.concatenate((planar, np.ones_like(z)), axis=-1))
    own = Similarity(scale, Rotation.from_rotvec((0.3, -2, 1)).as_matrix(), np.ones(3))
    return Predicted(
        torch.from_numpy(np.stack(points))[None].float(),
        torch.zeros(1, video.num_frames, size[1], size[0]),
        torch.from_numpy(own.poses(np.asarray(scene.world_from_cam)))[None].float(),
    )
