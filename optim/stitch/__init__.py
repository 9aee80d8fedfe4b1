"""Submaps of a long video joined to one: keyframes, loop closures, pose graph over similarities.

May use the core and `recon4d.optim.start`.
"""
