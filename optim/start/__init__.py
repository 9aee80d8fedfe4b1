"""Incremental initialisation: two-view geometry, a seed pair, resection and triangulation, self-calibration.

May use the core, and of `recon4d.optim` the rooms `objective` and `solve`, and `setting`.
"""
