"""The objective: unknowns, measurements, terms with analytic Jacobians, normal equations; may use the core alone."""
