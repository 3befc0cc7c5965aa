# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""On a Ray cluster of two nodes, of which one is killed, the results are those of this machine."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.errors import ToolError
from model_tools.prove.evaluation.evaluate import ROWS
from model_tools.prove.evaluation.ray_pool import RayPool

BUNDLE = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
NODE = {"object_store_memory": 80 << 20}
SEEDS, SOON_S = 12, 240.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a head without processors on loopback, which notices soon that a node is gone."""
    pytest.importorskip("ray", reason="needs the package ray: make test-ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_health_check_failure_threshold", "3")
        for name in ("initial_delay", "period", "timeout"):
            patch.setenv(f"RAY_health_check_{name}_ms", "500")
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


@pytest.fixture
def nodes(cluster: Any) -> Iterator[list[Any]]:
    """Add two nodes of one processor each; those that are still listed are removed afterwards."""
    added = [
        cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number}", **NODE)
        for number in (3, 4)
    ]
    yield added
    for node in added:
        cluster.remove_node(node, allow_graceful=False)


def start_evaluation(folder: Path, output: str, *options: str) -> subprocess.Popen[bytes]:
    """Start `model_tools evaluate` with a plan whose trials take seconds."""
    plan = {
        "robot": "lite3",
        "seeds": SEEDS,
        "duration_s": 4.0,
        "factors": {"push_n": {"min": 0.0, "max": 150.0}},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    command = ["evaluate", str(BUNDLE), "--plan", "plan.yaml", "--videos", "0", "--output", output]
    return subprocess.Popen([sys.executable, "-m", "model_tools", *command, *options], cwd=folder)


def kept_rows(folder: Path) -> list[str]:
    """Return the results so far, one line each, in a fixed order."""
    file = folder / ROWS
    return sorted(file.read_text().splitlines()) if file.exists() else []


def test_a_cluster_without_processors_is_refused(cluster: Any) -> None:
    pool = RayPool(cluster.address, [], time_limit_s=1.0)
    with pytest.raises(ToolError):
        list(pool.run([]))


def test_a_killed_node_changes_no_result(cluster: Any, nodes: list[Any], tmp_path: Path) -> None:
    far = start_evaluation(tmp_path, "far", "--ray", cluster.address)
    ends_s = time.monotonic() + SOON_S
    while not kept_rows(tmp_path / "far"):
        assert far.poll() is None
        assert time.monotonic() < ends_s
        time.sleep(0.05)
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    before = len(kept_rows(tmp_path / "far"))
    status = far.wait(SOON_S)
    near = start_evaluation(tmp_path, "near", "--workers", "2")
    assert near.wait(SOON_S) == status
    rows = kept_rows(tmp_path / "far")
    assert before < len(rows) == SEEDS
    assert len({json.loads(row)["key"] for row in rows}) == SEEDS
    assert rows == kept_rows(tmp_path / "near")
    assert (tmp_path / "far" / "summary.json").read_bytes() == (
        tmp_path / "near" / "summary.json"
    ).read_bytes()
