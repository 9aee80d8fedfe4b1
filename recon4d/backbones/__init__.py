"""Geometry-first models: pairwise pointmaps behind one protocol."""
