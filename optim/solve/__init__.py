"""Levenberg-Marquardt on the objective: Schur complement, banded system, covariance by jackknife.

May use the core and `recon4d.optim.objective`.
"""
