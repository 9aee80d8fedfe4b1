"""The objective: the unknowns, its terms (one class each), their values and normal equations."""
