# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The image in docs/fleet.md: the queries of the Grafana dashboard, drawn from a real run.

    python -m tools.dashboard_image docs/images/metrics.png

Starts a simulated Lite3 in lockstep, the policy, its exporter and Prometheus (Debian's package
prometheus). The robot stands up, walks and loses the IMU for a moment; then each panel is drawn,
without Grafana.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import yaml

from examples.demos.runner import Processes, free_port, own_domain
from robot_operator.nodes.client import Operator

mpl.use("Agg")
import matplotlib.pyplot as plt

DEPLOY = Path(__file__).parents[1] / "deploy"
ROBOT, _SPEED_MPS = "lite3_1", 0.6
_FAULTS = ["drop:imu@25+0.06", "drop:imu@35+0.06"]
_WALK_S, _STAND_S, _STEP_S = 40.0, 8.0, 1.0
_SERIES, _COLUMNS = 8, 2
_UNITS = {"s": "s", "hertz": "Hz", "percentunit": "share", "celsius": "°C"}


def main() -> int:
    """Write the image; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, help="PNG to write")
    image = parser.parse_args().image
    os.environ.update(own_domain(seed=os.getpid()))
    with tempfile.TemporaryDirectory() as folder, Processes() as nodes:
        exporter, server = free_port(), free_port()
        lockstep = {"lockstep": True, "lockstep_speed": 1.0, "faults": _FAULTS}
        nodes.start("sim_node", lockstep, Path(folder, "sim.log"))
        policy = {"bundle": "lite3_walk", "use_sim_time": True}
        nodes.start("joint_policy_node", policy, Path(folder, "policy.log"))
        metrics = {"port": exporter, "robot": ROBOT}
        nodes.start("robot_metrics", metrics, Path(folder, "metrics.log"))
        prometheus = _start_prometheus(Path(folder), exporter, server)
        try:
            start_s = time.time()
            _walk(nodes)
            _draw(f"http://127.0.0.1:{server}", start_s, image)
        finally:
            prometheus.terminate()
            prometheus.wait()
    return 0


def _walk(nodes: Processes) -> None:
    with Operator(use_sim_time=True, watch=nodes.check) as operator:
        operator.wait_for_robot()
        operator.stand_up()
        operator.move(_SPEED_MPS)
        operator.wait(_WALK_S)
        operator.demand("damp")
        operator.wait(_STAND_S)


def _start_prometheus(folder: Path, exporter: int, port: int) -> subprocess.Popen[bytes]:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus/policy_inference.rules.yml")]
    target = {"targets": [f"127.0.0.1:{exporter}"], "labels": {"robot": ROBOT}}
    config["scrape_configs"][0]["static_configs"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    with Path(folder, "prometheus.log").open("wb") as log:
        return subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )


def _draw(url: str, start_s: float, image: Path) -> None:
    dashboard = json.loads((DEPLOY / "grafana/policy_inference.json").read_text("utf-8"))
    panels = [one for one in dashboard["panels"] if one["type"] in ("timeseries", "state-timeline")]
    found = [(panel, _series(url, panel, start_s)) for panel in panels]
    shown = [(panel, series) for panel, series in found if series]
    rows = -(-len(shown) // _COLUMNS)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(13, 2.4 * rows), squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, (panel, series) in zip(axes.flat, shown, strict=False):
        for name, times, values in series[:_SERIES]:
            axis.plot([at - start_s for at in times], values, label=name, linewidth=1.2)
        unit = _UNITS.get(panel["fieldConfig"]["defaults"]["unit"], "")
        axis.set_title(f"{panel['title']}{f' [{unit}]' if unit else ''}", fontsize=10, loc="left")
        axis.legend(fontsize=7, loc="upper left", framealpha=0.7)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    figure.supxlabel("time [s]", fontsize=9)
    figure.tight_layout()
    figure.savefig(image, dpi=80)


def _series(
    url: str, panel: Mapping[str, Any], start_s: float
) -> list[tuple[str, list[float], list[float]]]:
    """Return name, times and values of each series of a panel, those that change most first."""
    series = []
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "15s").replace("$robot", ".+")
        query = {"query": expression, "start": start_s, "end": time.time(), "step": _STEP_S}
        place = f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(place, timeout=30.0) as answer:
            result = json.load(answer)["data"]["result"]
        for one in result:
            name = _name(target["legendFormat"], one["metric"])
            times, values = zip(*((at, float(text)) for at, text in one["values"]), strict=True)
            series.append((name, list(times), list(values)))
    return sorted(series, key=lambda one: min(one[2]) - max(one[2]))


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


if __name__ == "__main__":
    sys.exit(main())
