"""Where Hydra looks for plugins: the schema of sweepkit's configuration, for any Hydra application."""
