# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""On a Ray cluster of two nodes, of which one is killed, the results are those of this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.prove.evaluation.evaluate import evaluate, trial_store
from model_tools.prove.evaluation.evaluate import evaluated_policies as policies_of
from model_tools.prove.evaluation.pool import LocalPool
from model_tools.prove.evaluation.ray_pool import RayPool
from model_tools.prove.evaluation.summary import summarise
from model_tools.prove.evaluation.trials import run_trial
from policy_core.bundle.load import load_bundle

from .test_plan import plan_of

BUNDLE = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
NODE = {"object_store_memory": 80 << 20}

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a head without processors on loopback, which notices soon that a node is gone."""
    pytest.importorskip("ray", reason="needs the package ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    for name in ("initial_delay", "period", "timeout"):
        monkeypatch.setenv(f"RAY_health_check_{name}_ms", "500")
    from ray.cluster_utils import Cluster

    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "node_ip_address": "127.0.0.2",
            **NODE,
        },
    )
    yield started
    started.shutdown()


def test_a_killed_node_changes_no_result(cluster: Any, tmp_path: Path) -> None:
    nodes = [
        cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number}", **NODE)
        for number in (3, 4)
    ]
    plan = plan_of(
        tmp_path, seeds=6, duration_s=4.0, factors={"push_n": {"min": 0.0, "max": 150.0}}
    )
    policies = policies_of(plan, [load_bundle(BUNDLE)], {})

    def kill_one(done: int, _: object) -> None:
        if done and len(nodes) == 2:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    with trial_store(tmp_path / "far") as store:
        pool = RayPool(cluster.address, policies, time_limit_s=300.0)
        far = evaluate(plan, policies, store, pool, kill_one)
    assert len(nodes) == 1
    assert not far.not_done
    with trial_store(tmp_path / "near") as store:
        local = LocalPool(run_trial, 2, time_limit_s=300.0)
        near = evaluate(plan, policies, store, local)
    assert summarise(far) == summarise(near)
    assert dict(far.rows) == dict(near.rows)


def test_a_cluster_without_processors_is_refused(cluster: Any, tmp_path: Path) -> None:
    pool = RayPool(cluster.address, [], time_limit_s=1.0)
    with pytest.raises(ToolError):
        list(pool.run([]))
