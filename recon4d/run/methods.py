"""The methods that the options of a run name, ready to be used."""

from dataclasses import dataclass

from recon4d.flow import FlowMethod, flow_method
from recon4d.io.depth_maps import DepthMaps
from recon4d.masks import MaskMethod, Refiner, method, refiner
from recon4d.masks.none import make as no_masks
from recon4d.priors import Prior, prior
from recon4d.run.options import given_depth, resources
from recon4d.settings.config import RunConfig


@dataclass(frozen=True)
class Methods:
    """One of each kind."""

    masks: MaskMethod
    """Not looked at where the user gives masks."""
    flow: FlowMethod
    refine: Refiner
    prior: Prior | None
    """What says depth besides flow; None where flow alone, or the input itself, does."""
    depth: DepthMaps | None = None
    """Depth of the user's own, which a finished scene is completed with."""

    @classmethod
    def of(cls, config: RunConfig) -> "Methods":
        """Make the methods ready; large networks are read when they are first used.

        Raises:
            ConfigError: Weights that they need are not there, or weights are given that none of them looks at.
        """
        own = resources(config)
        given = config.masks_folder is not None
        made = cls(
            prior=prior(config.geometry, own),
            depth=given_depth(config),
            flow=flow_method(config.flow, own),
            masks=no_masks(own) if given else method(config.masks, own),
            refine=refiner(config.refine, own),
        )
        own.refuse_unused()
        return made
