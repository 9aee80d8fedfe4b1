"""Minimising the objective: Levenberg-Marquardt on a banded system, and what the minimum may be off by."""
