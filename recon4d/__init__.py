"""Reconstruct moving worlds from video."""
