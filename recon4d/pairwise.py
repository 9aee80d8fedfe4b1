"""Alignment of pairwise predictions (`recon4d.optim.pairwise`), under the name that the first users know."""

from recon4d.optim.pairwise import MASKS as MASKS
from recon4d.optim.pairwise import PairOptions as PairOptions
from recon4d.optim.pairwise import align_pairs as align_pairs
