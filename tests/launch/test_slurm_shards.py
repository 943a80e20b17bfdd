"""Packing runs into array tasks: every run once, shapes apart, resources that follow from the plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_fakes import make_plan

from sweepkit.config.schema import LauncherConfig, SlurmConfig
from sweepkit.launch.slurm import shards
from sweepkit.plan.run_plan import RunPlan


def plan(index: int, shape: str, hours: float | None) -> RunPlan:
    return replace(make_plan(f"r{index}"), compile_key=shape, estimated_gpu_hours=hours)


plans = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.floats(0.01, 0.09), st.floats(0.01, 3.0))),
    min_size=1,
    max_size=40,
).map(lambda items: [plan(index, shape, hours) for index, (shape, hours) in enumerate(items)])


@given(plans, st.integers(1, 7))
def test_every_run_is_in_one_shard_of_its_shape(some: list[RunPlan], size: int) -> None:
    packed = shards.pack(some, LauncherConfig(slurm=SlurmConfig(runs_per_task=size)))
    assert sorted(run for shard in packed for run in shard.run_ids) == sorted(plan.run_id for plan in some)
    if max(item.estimated_gpu_hours or 0.0 for item in some) >= 0.1:  # long ones stay in the order asked for
        assert [run for shard in packed for run in shard.run_ids] == [plan.run_id for plan in some]
        assert len(packed) == -(-len(some) // size)
        return
    assert all(len({plan.compile_key for plan in shard.plans}) == 1 for shard in packed)
    by_shape = {key: sum(plan.compile_key == key for plan in some) for key in "abc"}
    assert len(packed) == sum(-(-number // size) for number in by_shape.values())


@given(plans, st.integers(1, 240), st.integers(1, 8))
def test_auto_fills_a_task_with_known_minutes_only(some: list[RunPlan], minutes: int, workers: int) -> None:
    slurm = SlurmConfig(task_min=minutes, workers_per_task=workers)
    for shard in shards.pack(some, LauncherConfig(slurm=slurm)):
        if len(shard.plans) > 1:
            hours = [plan.estimated_gpu_hours for plan in shard.plans]
            assert None not in hours
            assert sum(item or 0.0 for item in hours) * 60 <= minutes * workers + 1e-6


@pytest.mark.parametrize(
    ("slurm", "processes", "time_min", "mem_gib"),
    [
        (SlurmConfig(time_margin=2.0), 1, 130, 14),  # an hour in all, twice, and ten minutes; 10 + 4 GiB
        (SlurmConfig(time_margin=2.0, workers_per_task=2), 1, 70, 28),
        (SlurmConfig(time_margin=2.0, gpus=4, nodes=2), 8, 25, 56),  # memory is of one node, with 4 processes
        (SlurmConfig(gpus=0), 1, 240, 14),
        (SlurmConfig(time_min=33, mem_gib=5), 1, 33, 5),
    ],
)
def test_resources_follow_from_the_plans(
    slurm: SlurmConfig, processes: int, time_min: int, mem_gib: int
) -> None:
    some = tuple(replace(plan(index, "a", 0.5), estimated_peak_memory_gib=10.0) for index in range(2))
    launcher = LauncherConfig(processes_per_run=processes, slurm=slurm)
    found = shards.resources(shards.Shard(some), launcher)
    assert (found.time_min, found.mem_gib) == (time_min, mem_gib)
    assert found.nodes * found.processes_per_node == processes


def test_a_shard_survives_its_file_and_is_named_by_its_content(tmp_path: Path) -> None:
    shard = shards.Shard((plan(1, "a", 1.0), plan(2, "a", None)))
    name = shards.write(shard, tmp_path)
    assert shards.read(tmp_path / name) == shard
    assert shards.write(shards.Shard(shard.plans[:1]), tmp_path) != name


def test_a_run_alone_has_the_time_it_needs_however_many_could_run_beside_it() -> None:
    launcher = LauncherConfig(slurm=SlurmConfig(time_margin=1.0, workers_per_task=4))
    assert shards.resources(shards.Shard((plan(0, "a", 2.0),)), launcher).time_min == 130
    eight = shards.Shard(tuple(plan(index, "a", 1.0) for index in range(8)))
    assert shards.resources(eight, launcher).time_min == 130


def seeds_of(num_variants: int, num_seeds: int, hours: float | None) -> tuple[list[RunPlan], dict[str, str]]:
    """Reference and variants, each of another shape, in the order of a sweep: variant by variant."""
    some = [
        replace(plan(1000 * variant + seed, f"shape{variant}", hours), seed=seed)
        for variant in range(num_variants + 1)
        for seed in range(num_seeds)
    ]
    return some, {item.run_id: f"d12 {item.seed}" for item in some}


@pytest.mark.slow
@given(st.integers(1, 6), st.integers(1, 5), st.one_of(st.none(), st.floats(0.01, 3.0)), st.integers(1, 240))
def test_where_time_is_judged_a_seeds_runs_share_a_task_whatever_they_last(
    num_variants: int, num_seeds: int, hours: float | None, minutes: int
) -> None:
    some, together = seeds_of(num_variants, num_seeds, hours)
    packed = shards.pack(some, LauncherConfig(slurm=SlurmConfig(task_min=minutes)), together)
    assert sorted(run for shard in packed for run in shard.run_ids) == sorted(item.run_id for item in some)
    assert shards.split_groups(packed, together) == set()
    for shard in packed:
        if len({item.seed for item in shard.plans}) > 1:
            assert hours is not None and len(shard.plans) * hours * 60 <= minutes + 1e-6


def test_runs_of_42_minutes_are_packed_seed_by_seed() -> None:
    """As the shipped GPU sweeps: a task each would be a host each, and no verdict on time."""
    some, together = seeds_of(3, 3, 0.7)
    packed = shards.pack(some, LauncherConfig(slurm=SlurmConfig()), together)
    assert [[item.seed for item in shard.plans] for shard in packed] == [[0] * 4, [1] * 4, [2] * 4]
    assert shards.resources(packed[0], LauncherConfig(slurm=SlurmConfig())).time_min == 4 * 84 + 10
    assert len(shards.pack(some, LauncherConfig(slurm=SlurmConfig()))) == 12, "where it is not judged"
    own = LauncherConfig(slurm=SlurmConfig(runs_per_task=2))
    assert [len(shard.plans) for shard in shards.pack(some, own, together)] == [2] * 6, "the user's number"


def test_a_task_fits_its_time_limit_and_what_does_not_is_known() -> None:
    some, together = seeds_of(3, 2, 1.0)
    slurm = LauncherConfig(slurm=SlurmConfig())
    packed = shards.pack(some, slurm, together, max_min=370)  # 3 runs of an hour, twice, and ten minutes
    assert [[item.seed for item in shard.plans] for shard in packed] == [[0] * 3, [0], [1] * 3, [1]]
    assert shards.split_groups(packed, together) == {"d12 0", "d12 1"}
    assert [shards.resources(shard, slurm, 370).time_min for shard in packed] == [370, 130, 370, 130]
    (longer,) = shards.pack(some[:1], slurm, together, max_min=60)  # goes on after a requeue
    assert shards.resources(longer, slurm, 60).time_min == 60
