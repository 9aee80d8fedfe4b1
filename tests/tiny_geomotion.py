"""A GeoMotion and a RAFT with few, random weights."""

from pathlib import Path

import torch

from recon4d.masks.geomotion.network import GeoMotion, GeoMotionConfig
from recon4d.networks.pi3.config import Pi3Config
from recon4d.networks.raft import SMALL, Raft

TINY = GeoMotionConfig(
    Pi3Config(
        dim=16,
        head_dim=8,
        mlp_ratio=2.0,
        enc_depth=1,
        enc_registers=2,
        grid=6,
        depth=16,
        registers=3,
        head_depth=1,
        point_dim=12,
        conf_dim=8,
        camera_dim=10,
    ),
    flow_dims=(3, 4, 5),
)
"""For squares of 84 pixels."""


def tiny(seed: int = 0) -> GeoMotion:
    torch.manual_seed(seed)
    network = GeoMotion(TINY).eval()
    for name, value in network.named_parameters():
        if "token" in name or "pos_embed" in name:
            torch.nn.init.normal_(value, std=0.5)
    return network


def save_tiny(folder: Path) -> Path:
    """A file as official ones are."""
    path = folder / "geomotion.pth"
    torch.save({"model_state_dict": tiny().state_dict(), "best_iou": 0.5, "epoch": 3}, path)
    return path


def save_raft(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "raft.pth"
    torch.save(Raft(SMALL).state_dict(), path)
    return path
