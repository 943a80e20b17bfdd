"""What must not be compared is refused with the difference named."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
from analysis_frames import runs

from sweepkit.analysis import comparable, probes
from sweepkit.analysis.replicates import sort_runs, to_retry
from sweepkit.errors import SweepkitError


def changed(column: str, value: object, seed: int | None = None) -> pd.DataFrame:
    frame = runs({"a": 0.0})
    chosen = (frame["variant"] == "a") & ((frame["seed"] == seed) if seed else True)
    frame.loc[chosen, column] = value
    return frame


def test_one_environment_and_one_evaluation_are_fine() -> None:
    comparable.check(runs({"a": 0.0}), "val_bpb")
    comparable.check(runs({"a": 0.0}).iloc[:0], "val_bpb")
    comparable.check(runs({"a": 0.0})[["run_id", "variant", "val_bpb"]], "val_bpb")


def test_runs_of_other_code_are_refused_unless_accepted_or_allowed() -> None:
    frame = changed("sources", "b" * 16)
    frame["sources"] = frame["sources"].fillna("a" * 16) if "sources" in frame else "a" * 16
    with pytest.raises(SweepkitError, match=r"sources is a{16} .* and b{16} .*--rerun.*--accept-code"):
        comparable.check(frame, "val_bpb")
    comparable.check(frame, "val_bpb", allow_mixed_environments=True)
    taken = frame["sources"] == "b" * 16
    frame["accepted_by"] = pd.Series("a" * 16, index=frame.index).where(taken)
    comparable.check(frame, "val_bpb")
    said = comparable.accepted(frame)
    assert said and f"{taken.sum()} of {len(frame)} runs" in said and "b" * 16 in said
    assert comparable.accepted(frame.assign(accepted_by=None)) is None
    frame = frame.assign(
        sources=frame["sources"].where(~taken), accepted_by=None
    )  # says nothing: like any other fingerprint
    with pytest.raises(SweepkitError, match=r"sources is .*missing"):
        comparable.check(frame, "val_bpb")


def test_runs_share_code_where_one_stands_for_all() -> None:
    """Against sets written out by hand, over every pair of ways in which two runs can stand."""
    ways = {
        (made, tuple(taken)): {made, *taken} for made in ("a", "b", "") for taken in ([], ["b"], ["b", "c"])
    }
    for (one, first), (two, second) in itertools.product(ways.items(), repeat=2):
        made, taken = (one[0], two[0]), [", ".join(some[1]) or None for some in (one, two)]
        frame = pd.DataFrame({"sources": [name or None for name in made], "accepted_by": taken})
        assert comparable.shared_sources(frame) == first & second, (one, two)
    assert comparable.shared_sources(pd.DataFrame({"run_id": ["x"]})) == {""}


def test_losses_on_different_text_are_refused() -> None:
    with pytest.raises(
        SweepkitError, match=r"evaluation_fingerprint is evaluation for d2-reference-s1 and other"
    ):
        comparable.check(changed("evaluation_fingerprint", "other"), "val_bpb")


def test_the_metrics_own_stream_is_what_counts() -> None:
    frame = changed("evaluation_fingerprint", "other").assign(evaluation_fingerprint_probe="same")
    comparable.check(frame, "bpb_probe")
    frame.loc[frame["variant"] == "a", "evaluation_fingerprint_probe"] = pd.NA
    with pytest.raises(SweepkitError, match=r"evaluation_fingerprint_probe is same .* and missing"):
        comparable.check(frame, "bpb_probe")


def test_a_dataset_that_changed_between_two_downloads_is_refused() -> None:
    frame = changed("dataset_commit", "b" * 40).assign(text_digest="one", pair_key="seed 1")
    frame["dataset_commit"] = frame["dataset_commit"].fillna("a" * 40)
    comparable.check(frame, "val_bpb")  # the text is what counts
    frame.loc[frame["variant"] == "a", "text_digest"] = "other"
    with pytest.raises(SweepkitError, match=r"text_digest differs .*aaa against bbb.*dataset\.revision"):
        comparable.check(frame, "val_bpb", allow_mixed_environments=True)
    frame.loc[frame["variant"] == "a", "pair_key"] = "of another dataset"
    comparable.check(frame, "val_bpb")


def test_other_hardware_is_refused_and_named_unless_allowed() -> None:
    frame = changed("environment_fingerprint", "other")
    frame.loc[frame["variant"] == "a", "hardware"] = "newer"
    with pytest.raises(SweepkitError, match=r"hardware processor against newer.*--allow-mixed"):
        comparable.check(frame, "val_bpb")
    comparable.check(frame, "val_bpb", allow_mixed_environments=True)


def test_other_threads_are_named() -> None:
    frame = changed("environment_fingerprint", "other").assign(num_threads=1)
    frame.loc[frame["variant"] == "a", "num_threads"] = 2
    with pytest.raises(SweepkitError, match=r"\(num_threads 1 against 2\).*the launcher and machine"):
        comparable.check(frame, "val_bpb")


def test_an_environment_that_differs_invisibly_is_refused_too() -> None:
    with pytest.raises(SweepkitError, match="in a part that this table does not have"):
        comparable.check(changed("environment_fingerprint", "other", seed=2), "val_bpb")


def test_a_dtype_may_be_the_variants_own_change() -> None:
    frame = changed("environment_fingerprint", "other")
    frame.loc[frame["variant"] == "a", "dtype"] = "fp32"
    comparable.check(frame, "val_bpb")
    frame.loc[(frame["variant"] == "a") & (frame["seed"] == 1), "dtype"] = "bf16"
    with pytest.raises(SweepkitError, match=r"dtype bf16 against fp32|in a part"):
        comparable.check(frame, "val_bpb")


def test_a_dtype_of_its_own_hides_nothing_else() -> None:
    """Kernels follow the dtype; another torch, a run that was not compiled or another FP8 do not."""
    frame = changed("environment_fingerprint", "other").assign(
        torch="2.13", compiled=True, fp8_backend=pd.NA, attention="flash"
    )
    own = frame["variant"] == "a"
    frame.loc[own, ["dtype", "fp8_backend", "attention"]] = ["fp8", "native", "sdpa"]
    comparable.check(frame, "val_bpb")
    for column, value in (("torch", "2.14"), ("compiled", False), ("hardware", "newer")):
        other = frame.copy()
        other.loc[own, column] = value
        with pytest.raises(SweepkitError, match=f"{column} {frame[column].iloc[0]} against {value}"):
            comparable.check(other, "val_bpb")
    mixed = frame.copy()
    mixed.loc[own & (mixed["seed"] == 2), ["fp8_backend", "environment_fingerprint"]] = ["emulated", "third"]
    with pytest.raises(SweepkitError, match="fp8_backend missing against native"):
        comparable.check(mixed, "val_bpb")


def test_runs_are_sorted_by_whose_fault_they_were() -> None:
    fates = {
        "complete": None,
        "diverged": "diverged",
        "failed": "oom",
        "failed    ": "timeout",
        "failed ": "disk_full",
        "failed  ": "lost",
        "failed   ": "crash",
        "cancelled": "cancelled",
        "corrupt": None,
        "planned": None,
        "running": None,
        "preempted": None,
    }
    frame = pd.DataFrame(
        {
            "run_id": [f"{state}/{failure}" for state, failure in fates.items()],
            "state": [state.strip() for state in fates],
            "failure_class": list(fates.values()),
            "val_bpb": 2.0,
            "failed_attempts": 1,
            "failed_hosts": 1,
        }
    )
    found = sort_runs(frame, "val_bpb")
    assert found.complete == ["complete/None"]
    assert list(found.against.values()) == ["diverged"]
    assert list(found.missing.values()) == [
        "oom, not retried", "timeout, not retried", "disk_full", "lost", "crash", "cancelled", "corrupt",
    ]  # fmt: skip
    assert to_retry(frame) == {"failed/oom": "oom", "failed    /timeout": "timeout"}
    again = frame.assign(failed_attempts=2)
    assert list(sort_runs(again, "val_bpb").against.values()) == [
        "diverged", "oom, again after a retry", "timeout, again after a retry",
    ]  # fmt: skip
    assert to_retry(again) == {}
    assert list(sort_runs(again, "val_bpb", num_hosts=2).against.values()) == ["diverged"], "not elsewhere"
    assert len(sort_runs(again.assign(failed_hosts=2), "val_bpb", num_hosts=2).against) == 3
    on_two_hosts = again.assign(host=[f"n{row % 2}" for row in range(len(again))])
    assert to_retry(on_two_hosts) == to_retry(frame)
    thrice = again.assign(failed_attempts=3)
    assert len(sort_runs(thrice, "val_bpb", num_hosts=2).against) == 3, "no other machine took them"
    assert len(found.unfinished) == 3


def test_a_complete_run_without_the_metric_is_missing_and_not_zero() -> None:
    frame = runs({})
    frame.loc[0, "val_bpb"] = pd.NA
    found = sort_runs(frame, "val_bpb")
    assert len(found.complete) == 2
    assert found.missing == {"d2-reference-s1": "complete without val_bpb"}


def test_the_error_names_what_differs_and_a_text_that_all_share() -> None:
    """BOS-aligned rows lower the loss without better learning: refused, with the layout as the reason."""
    stream = "text: 3fa9 | bytes: [0, 65536] | layout: documents joined with BOS | sequence_len: 256"
    table = runs({"aligned": -0.01}, measured_on=stream, bpb_probe=1.0, evaluation_fingerprint_probe="same")
    aligned = table["variant"] == "aligned"
    table.loc[aligned, "evaluation_fingerprint"] = "other"
    table.loc[aligned, "measured_on"] = stream.replace("joined with BOS", "one a row")
    with pytest.raises(SweepkitError) as caught:
        comparable.check(table, "val_bpb")
    message = str(caught.value)
    assert "layout: documents joined with BOS against documents one a row" in message
    assert "text:" not in message and "sequence_len:" not in message
    assert "decision.metric: bpb_probe" in message
    comparable.check(table, "bpb_probe")


def test_every_probe_is_compared_on_its_own() -> None:
    table = runs({"it": -0.01}, seeds=5)
    table["bpb_news"] = table["val_bpb"] * 1.1
    table["bpb_code"] = table["val_bpb"] + (table["variant"] == "it").astype(float) * 0.05
    table["bpb_own"] = table["val_bpb"]
    for name in ("news", "code"):
        table[f"evaluation_fingerprint_{name}"] = name
    table["evaluation_fingerprint_own"] = table["variant"]
    found = probes.compare(table, 0.1)
    (news,), (code,) = found.effects["bpb_news"], found.effects["bpb_code"]
    assert news.high is not None and news.high < 0
    assert code.low is not None and code.low > 0
    assert list(found.refused) == ["bpb_own"]
