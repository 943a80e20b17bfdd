"""Hydra's way to sweepkit: ``hydra/sweeper: sweepkit`` sends ``-m`` through the ledger of runs."""
