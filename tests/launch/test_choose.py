"""Which run is next: own shapes, then free ones, then where most is left; longest first."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from launch_fakes import make_plan

from sweepkit.launch.choose import grouped, next_run


def test_own_shape_then_one_nobody_is_on_then_the_one_with_most_left() -> None:
    plans = [make_plan(f"{key}{i}", compile_key=key) for key in "abc" for i in range(2)]
    assert next_run(plans, last_key="b", compiled={"a", "b"}, busy={"b": 1}).run_id == "b0"
    assert next_run(plans, last_key="x", compiled={"c"}, busy={}).run_id == "c0"
    assert next_run(plans, last_key=None, compiled=set(), busy={"a": 1, "b": 1}).run_id == "c0"
    assert next_run(plans, last_key=None, compiled=set(), busy={}).run_id == "a0"
    more = [*plans, make_plan("b2", compile_key="b", num_steps=20)]
    everyone = dict.fromkeys("abc", 1)
    assert next_run(more, last_key=None, compiled=set(), busy=everyone).run_id == "b2"
    assert next_run(more, last_key=None, compiled=set(), busy=everyone | {"b": 9}).compile_key != "b"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=12))
def test_workers_with_this_rule_compile_no_shape_twice_needlessly(runs: list[tuple[str, int]]) -> None:
    plans = [make_plan(f"r{i}", compile_key=key, num_steps=steps) for i, (key, steps) in enumerate(runs)]
    left, order = list(plans), []
    last: str | None = None
    compiled: set[str] = set()
    while left:
        plan = next_run(left, last_key=last, compiled=compiled, busy={})
        left.remove(plan)
        order.append(plan)
        last = plan.compile_key
        compiled.add(last)
    changes = sum(one.compile_key != two.compile_key for one, two in itertools.pairwise(order))
    assert changes == len({plan.compile_key for plan in plans}) - 1
    for one, two in itertools.pairwise(order):
        assert one.compile_key != two.compile_key or one.num_steps >= two.num_steps


@given(st.permutations([(key, seed) for seed in (1, 2, 3) for key in "abc"]))
def test_long_runs_are_done_seed_by_seed_with_few_changes_of_shape(asked: list[tuple[str, int]]) -> None:
    """Compiling costs little beside them, and clocks drift: the reference runs among the variants."""
    asked.sort(key=lambda item: item[1])
    plans = [
        replace(make_plan(f"{key}{seed}", compile_key=key), seed=seed, estimated_gpu_hours=0.5)
        for key, seed in asked
    ]
    left, order, last = list(plans), [], None
    while left:
        plan = next_run(left, last_key=last, compiled=set(), busy={})
        left.remove(plan)
        order.append(plan)
        last = plan.compile_key
    assert [plan.seed for plan in order] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    changes = sum(one.compile_key != two.compile_key for one, two in itertools.pairwise(order))
    assert changes == 6, "a seed begins with the shape that the last one ended with"


@given(st.lists(st.sampled_from("abc")))
def test_grouping_is_stable(keys: list[str]) -> None:
    plans = [make_plan(f"r{i}", compile_key=key) for i, key in enumerate(keys)]
    expected = [plan for key in dict.fromkeys(keys) for plan in plans if plan.compile_key == key]
    assert grouped(plans) == expected
