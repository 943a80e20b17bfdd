"""Every column of the runs table: dtype, unit, direction, meaning; those of curves: ``curve_columns.py``.

This is the one place that knows them: ``store.py`` types the table by it, the command line and the
report take units and directions from it, and ``sweepkit results --columns`` prints it. A name with a
part in angle brackets stands for a family: ``bpb_<stream>`` covers ``bpb_validation``, ``bpb_probe``
and so on. Dtypes are pandas' nullable ones, so that a missing number is ``<NA>`` and never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sweepkit.results.column import BOOL, FLOAT, HIGH, INT, LOW, NO, TEXT, TIME, Column, Direction

__all__ = ["BOOL", "FLOAT", "INT", "TEXT", "TIME", "Column", "Direction"]

Row = dict[str, Any]  # column → value, as JSON has it

#: What the columns of levels begin with, an axis each.
LEVEL = "level_"
#: State of a cell whose run has no record yet.
PLANNED = "planned"
#: State of a cell that its own sweep has judged, and whose run's folder is gone.
DELETED = "deleted"
#: What is recorded as running and has no process any more; the next launch takes it over. Only who looks at
#: processes can tell (``launch/ledger.py``), so no table has it by itself.
LOST = "lost"
#: Label and role of the variant all others are compared with.
REFERENCE = "reference"
#: State of a run whose record.json is there but cannot be read.
CORRUPT = "corrupt"

#: State of a complete run of a search's trial that took more memory than the search allows.
INFEASIBLE = "infeasible"

#: A ratio that is 1 at most. A processor's peak is measured, and on a busy one comes out too low; what lies
#: beyond this is a percentage, or nothing.
MOST_MFU = 10.0

RUN_COLUMNS: tuple[Column, ...] = (
    # which run this is
    Column("run_id", TEXT, "", NO, "name of the run's folder; two cells may share one run"),
    Column("variant", TEXT, "", NO, "label of the difference from the reference: axis=level, or reference"),
    Column("variant_key", TEXT, "", NO, "hash of that difference, the same at every depth"),
    Column("variant_id", TEXT, "", NO, "hash of all that is trained and can end it, seed apart"),
    Column("role", TEXT, "", NO, "reference, variant, or horizon (the reference at another horizon)"),
    Column("rung", TEXT, "", NO, "step of the ladder"),
    Column("trial", INT, "", NO, "number of the search's first trial that proposed this cell", least=0),
    Column(
        "level_<axis>",
        TEXT,
        "",
        NO,
        "level of the cell on that axis, typed where it is a field's value; <NA> where that is null",
    ),
    Column(
        "seed", INT, "", NO, "replicate: data order, and initialisation where init_seed is missing", least=0
    ),
    Column(
        "init_seed",
        INT,
        "",
        NO,
        "what the initial weights were drawn from, where it is not the seed",
        least=0,
    ),
    Column(
        "pair_key", TEXT, "", NO, "hash of the data order; equal keys saw the same tokens in the same order"
    ),
    Column("compile_key", TEXT, "", NO, "hash of all that is traced; equal keys share compiled code"),
    Column("evaluation_key", TEXT, "", NO, "hash of what the losses were to be measured on"),
    # how it went
    Column(
        "state",
        TEXT,
        "",
        NO,
        "planned (no record yet), deleted (judged here, and its folder is gone), running (or lost, where its "
        "process is gone: sweepkit results looks), trained (not evaluated as asked yet), complete, pruned, "
        "futile (stopped for futility), infeasible (complete, over a search's memory limit), diverged, "
        "failed, preempted, cancelled, or "
        "corrupt (record.json cannot be read; failure_message says what to do)",
    ),
    Column(
        "failure_class", TEXT, "", NO, "why a run did not complete: diverged, oom, impossible, crash, ..."
    ),
    Column("failure_message", TEXT, "", NO, "the failure in words"),
    Column(
        "pruned_by",
        TEXT,
        "",
        NO,
        "searches and rules of futility that stopped this run; it has ended for those alone",
    ),
    Column("attempt", INT, "", NO, "how many times the run was started", least=1),
    Column(
        "failed_attempts", INT, "", NO, "attempts that ran out of memory or time, where the run did", least=1
    ),
    Column("failed_hosts", INT, "", NO, "on how many machines they did", least=1),
    Column("step", INT, "steps", NO, "last finished step", least=0),
    # what came out
    Column("val_bpb", FLOAT, "bits/byte", LOW, "final loss on the validation stream", above=0),
    Column("bpb_<stream>", FLOAT, "bits/byte", LOW, "final loss on that evaluation stream", above=0),
    Column("ema_val_bpb", FLOAT, "bits/byte", LOW, "val_bpb of the averaged weights, if any", above=0),
    Column("ema_bpb_<stream>", FLOAT, "bits/byte", LOW, "bpb_<stream> of the averaged weights", above=0),
    Column("core", FLOAT, "centred accuracy", HIGH, "mean over the 22 tasks of CORE (docs/core.md)", most=1),
    Column("core_se", FLOAT, "centred accuracy", LOW, "its standard error over items", least=0),
    Column(
        "core_subset", FLOAT, "centred accuracy", HIGH, "mean over other tasks, or some items of them", most=1
    ),
    Column("core_se_<task>", FLOAT, "centred accuracy", LOW, "binomial standard error, by task", least=0),
    Column("core_<task>", FLOAT, "centred accuracy", HIGH, "(accuracy − chance) / (1 − chance)", most=1),
    Column("ema_core", FLOAT, "centred accuracy", HIGH, "core of the averaged weights", most=1),
    Column("ema_core_<task>", FLOAT, "centred accuracy", HIGH, "core_<task> of the averaged weights", most=1),
    Column("score_<name>", FLOAT, "", HIGH, "from scores.json in the run's folder, where somebody put one"),
    Column(
        "final_train_loss",
        FLOAT,
        "nats/token",
        LOW,
        "training loss at the end; depends on the tokenizer",
        least=0,
    ),
    Column(
        "train_time_s",
        FLOAT,
        "s",
        LOW,
        "time in training steps after the first 10 (or the first half of a shorter run), without compiling, "
        "evaluating, saving",
        least=0,
    ),
    Column("median_step_time_s", FLOAT, "s", LOW, "median time of a training step", least=0),
    Column(
        "compile_time_s", FLOAT, "s", LOW, "time until the first step was done, less a usual step", least=0
    ),
    Column("eval_time_s", FLOAT, "s", LOW, "time in evaluation", least=0),
    Column("checkpoint_time_s", FLOAT, "s", LOW, "time in saving checkpoints", least=0),
    Column("tokens_per_s", FLOAT, "tokens/s", HIGH, "training throughput", least=0),
    Column(
        "mfu",
        FLOAT,
        "ratio",
        HIGH,
        "model FLOPs utilisation: achieved over the peak of the dtype that ran",
        least=0,
        most=MOST_MFU,
    ),
    Column(
        "mfu_fp8",
        FLOAT,
        "ratio",
        HIGH,
        "its part on FP8 units: FLOPs in FP8 over the FP8 peak",
        least=0,
        most=MOST_MFU,
    ),
    Column(
        "mfu_rest",
        FLOAT,
        "ratio",
        HIGH,
        "beside FP8: the other FLOPs over the compute dtype's peak",
        least=0,
        most=MOST_MFU,
    ),
    Column(
        "communication_frac",
        FLOAT,
        "ratio",
        LOW,
        "several ranks: share of train_time_s in which a rank waits for others, mean over ranks",
        least=0,
        most=1,
    ),
    Column(
        "num_skipped_steps", INT, "steps", LOW, "steps skipped in fp16 because gradients overflowed", least=0
    ),
    Column("peak_memory_gib", FLOAT, "GiB", LOW, "peak memory of the device or process", least=0),
    # what was planned
    Column("depth", INT, "layers", NO, "the size dial", least=1),
    Column("width", INT, "channels", NO, "model width", least=1),
    Column("num_heads", INT, "heads", NO, "query heads a layer", least=1),
    Column("scaling_params", INT, "parameters", NO, "parameters the tokens:params ratio counts", least=0),
    Column("scaling_count", TEXT, "", NO, "which those are (horizon.count)"),
    Column("total_params", INT, "parameters", NO, "all parameters", least=0),
    Column(
        "active_params",
        INT,
        "parameters",
        NO,
        "that a token passes: of routed experts the chosen ones alone",
        least=0,
    ),
    Column(
        "flops_per_token", INT, "FLOPs/token", NO, "training FLOPs a token, from the architecture", least=0
    ),
    Column("sequence_len", INT, "tokens", NO, "tokens a row", least=1),
    Column("device_batch_size", INT, "rows", NO, "rows a device takes at once", least=1),
    Column("total_batch_size", INT, "tokens", NO, "tokens an optimizer step", least=1),
    Column("num_steps", INT, "steps", NO, "optimizer steps planned", least=0),
    Column("total_tokens", INT, "tokens", NO, "num_steps x total_batch_size", least=0),
    Column(
        "epochs",
        FLOAT,
        "",
        NO,
        "how often the run has seen its text, or, planned, will see it",
        least=0,
    ),
    Column(
        "total_flops", FLOAT, "FLOPs", LOW, "training FLOPs of the whole run, from the architecture", least=0
    ),
    Column(
        "learning_rates_<group>",
        FLOAT,
        "",
        NO,
        "learning rate of that parameter group, after scaling",
        least=0,
    ),
    Column("weight_decay", FLOAT, "", NO, "weight decay of the matrix group, after scaling", least=0),
    Column(
        "weight_decays_<group>", FLOAT, "", NO, "weight decay of that parameter group, after scaling", least=0
    ),
    Column("dataset", TEXT, "", NO, "name of the dataset recipe"),
    Column("estimated_gpu_hours", FLOAT, "GPU-h", LOW, "planned cost on plan_device at plan_mfu", least=0),
    # where and with what
    Column("dtype", TEXT, "", NO, "dtype the node resolved to: bf16, fp16, fp32 or fp8"),
    Column("fp8_backend", TEXT, "", NO, "native or emulated, for runs in fp8"),
    Column("attention", TEXT, "", NO, "attention kernel the node resolved to"),
    Column("compiled", BOOL, "", NO, "whether torch.compile was used; if not, the log says why"),
    Column("device", TEXT, "", NO, "cpu, cuda or mps"),
    Column("hardware", TEXT, "", NO, "processor or accelerator"),
    Column(
        "num_threads",
        INT,
        "threads",
        NO,
        "processor threads the run computed with; other sums, other bits",
        least=1,
    ),
    Column(
        "num_ranks", INT, "ranks", NO, "processes that trained the run together, where several did", least=1
    ),
    Column("torch", TEXT, "", NO, "version of torch"),
    Column("host", TEXT, "", NO, "machine name"),
    Column(
        "concurrency",
        INT,
        "runs",
        NO,
        "runs that the machine could train at a time: the launch's workers, in a Slurm task times how many "
        "tasks of its size the node has cores for; wall clock is compared among equals only",
        least=1,
    ),
    Column(
        "code",
        TEXT,
        "",
        NO,
        "what its code was frozen as, where its level is code: a tree, of a command what was named",
    ),
    Column(
        "sources", TEXT, "", NO, "digest of the code that computed it; compare equals, or what was accepted"
    ),
    Column("accepted_by", TEXT, "", NO, "digests of other code that took it with --accept-code"),
    Column("git_commit", TEXT, "", NO, "commit of the code"),
    Column("git_dirty", BOOL, "", NO, "whether the checkout had uncommitted changes"),
    Column(
        "environment_fingerprint",
        TEXT,
        "",
        NO,
        "hash of hardware, device, dtype, FP8 and attention backends, threads, torch, compilation",
    ),
    Column(
        "evaluation_fingerprint", TEXT, "", NO, "digest of what val_bpb was measured on; compare only equals"
    ),
    Column("evaluation_fingerprint_<stream>", TEXT, "", NO, "the same for bpb_<stream>"),
    Column("measured_on", TEXT, "", NO, "text, bytes, layout, sequence_len and byte rule behind that digest"),
    Column("measured_on_<stream>", TEXT, "", NO, "the same for bpb_<stream>"),
    Column("evaluated_apart", BOOL, "", NO, "whether losses are those of kept weights, not of the run's end"),
    Column(
        "evaluated_on", TEXT, "", NO, "where the kept weights were evaluated, if not where they were trained"
    ),
    Column("weights", TEXT, "", NO, "SHA-256 of the final weights, where they were kept"),
    Column("text_digest", TEXT, "", NO, "SHA-256 over the training text"),
    Column("dataset_commit", TEXT, "", NO, "commit of the hub repository that the training text was read at"),
    Column(
        "packing_utilisation", FLOAT, "ratio", HIGH, "share of row positions holding text", least=0, most=1
    ),
    Column(
        "packing_cropped_frac",
        FLOAT,
        "ratio",
        LOW,
        "share of the text cropped away by packing",
        least=0,
        most=1,
    ),
    Column("started_at", TIME, "UTC", NO, "start of the last attempt"),
    Column("ended_at", TIME, "UTC", NO, "end of the last attempt"),
    Column("sample", TEXT, "", NO, "text the finished model wrote"),
)


def is_horizon(variant: str, reference: str = REFERENCE) -> bool:
    """Whether a label is the reference's at another horizon, as ``reference@0.5x``."""
    return variant.startswith(f"{reference}@")


def is_reference(variant: str, reference: str = REFERENCE) -> bool:
    """Whether a label is the reference's, at its own horizon or at another one."""
    return variant == reference or is_horizon(variant, reference)


def find(name: str, columns: tuple[Column, ...] = RUN_COLUMNS) -> Column | None:
    """The documented column (or family) that ``name`` belongs to; None for an unknown name."""
    exact = next((column for column in columns if column.name == name), None)
    return exact or next((column for column in columns if column.is_family and column.matches(name)), None)


def order(names: list[str], columns: tuple[Column, ...] = RUN_COLUMNS) -> list[str]:
    """``names`` in the order of the documentation, family members sorted, unknown names last."""
    place = {column.name: index for index, column in enumerate(columns)}

    def key(name: str) -> tuple[int, str]:
        column = find(name, columns)
        return (
            place[column.name] if column else len(columns),
            name if not column or column.is_family else "",
        )

    return sorted(dict.fromkeys(names), key=key)


def check_plausible(row: Mapping[str, object], found: Callable[[str], Column | None] = find) -> None:
    """Raises ValueError for a number that cannot be: it would rank first, or last, without a word."""
    for name, value in row.items():
        column = found(name)
        if column is not None and value is not None and (why := column.implausible(value)):
            raise ValueError(f"{name} is {why}")
