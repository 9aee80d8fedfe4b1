"""Joining pieces of a long video: keyframes, loops, similarity between pieces."""
