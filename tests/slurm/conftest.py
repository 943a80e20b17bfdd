"""One cluster a test worker, cleaned before each test; the files are two groups, so that two are started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, User, running_cluster


@pytest.fixture(scope="session")
def session_cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(session_cluster: Cluster) -> Cluster:
    session_cluster.control("reset")
    return session_cluster


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path, shared_cache: Path) -> User:
    (tmp_path / "home").mkdir()
    return User(cluster, tmp_path, shared_cache)
