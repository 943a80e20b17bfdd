"""Every column of the curves table, a row a logged step: dtype, unit, direction, meaning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sweepkit.results import columns
from sweepkit.results.column import FLOAT, HIGH, INT, LOW, NO, Column
from sweepkit.results.columns import MOST_MFU, RUN_COLUMNS

_CURVE_IDENTITY = {"run_id", "variant", "role", "rung", "depth", "seed", "state"}

CURVE_COLUMNS: tuple[Column, ...] = (
    *(column for column in RUN_COLUMNS if column.name in _CURVE_IDENTITY),
    Column("step", INT, "steps", NO, "optimizer step", least=0),
    Column("attempt", INT, "", NO, "attempt that logged the row; the last one wins", least=1),
    Column("tokens", INT, "tokens", NO, "tokens trained on after this step", least=0),
    Column("train_time_s", FLOAT, "s", LOW, "training time so far, counted as in the runs table", least=0),
    Column("flops", FLOAT, "FLOPs", LOW, "training FLOPs so far", least=0),
    Column("loss", FLOAT, "nats/token", LOW, "training loss of the step", least=0),
    Column(
        "val_bpb", FLOAT, "bits/byte", LOW, "loss on the validation stream where it was evaluated", above=0
    ),
    Column("bpb_<stream>", FLOAT, "bits/byte", LOW, "loss on that stream where it was evaluated", above=0),
    Column("ema_val_bpb", FLOAT, "bits/byte", LOW, "val_bpb of the averaged weights, at the end", above=0),
    Column("ema_bpb_<stream>", FLOAT, "bits/byte", LOW, "bpb_<stream> of the averaged weights", above=0),
    Column("lr", FLOAT, "ratio", NO, "learning rate as a factor of each group's peak", least=0),
    Column("tokens_per_s", FLOAT, "tokens/s", HIGH, "throughput of the step", least=0),
    Column("mfu", FLOAT, "ratio", HIGH, "model FLOPs utilisation of the step", least=0, most=MOST_MFU),
    Column("mfu_fp8", FLOAT, "ratio", HIGH, "its part on FP8 units", least=0, most=MOST_MFU),
    Column(
        "mfu_rest", FLOAT, "ratio", HIGH, "its other part, where FP8 units took part", least=0, most=MOST_MFU
    ),
    Column("expert_load_max", FLOAT, "", LOW, "largest load of an expert / mean load, of any layer", least=0),
    Column("loss_scale", FLOAT, "", NO, "what the loss is multiplied by in fp16", above=0),
    Column(
        "grad_norm",
        FLOAT,
        "",
        NO,
        "norm of the gradient before clipping, where it is clipped or diagnosed",
        least=0,
    ),
    Column("update_data_log10_<group>", FLOAT, "log10", NO, "size of the step over size of the weights"),
    Column("grad_data_log10_<group>", FLOAT, "log10", NO, "size of the gradient over size of the weights"),
    Column(
        "weight_log10_<group>", FLOAT, "log10", NO, "size of the weights, root-mean-square, before the step"
    ),
)


@lru_cache(maxsize=4096)
def find(name: str) -> Column | None:
    """The documented column (or family) that ``name`` belongs to; None for an unknown name."""
    return columns.find(name, CURVE_COLUMNS)


def check_plausible(row: Mapping[str, object]) -> None:
    """Raises ValueError for a number that cannot be."""
    columns.check_plausible(row, find)
