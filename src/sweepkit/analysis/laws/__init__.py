"""Laws from tables of runs: optima, how they move with scale, compute-optimal sizes, batches, forecasts."""
