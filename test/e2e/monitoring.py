# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real Prometheus with the configuration and the rules that ship in `deploy/`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE_S = 60.0


def installed_program(name: str) -> str:
    """Return the path of a program of Debian's package prometheus; skip the test without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


class Prometheus:
    """A server that scrapes exporters once a second, and judges by our rules.

    Attributes:
        url: Of the server.
    """

    def __init__(self, folder: Path, ports: Mapping[str, int], *, rules: bool = True) -> None:
        """Start it.

        Args:
            folder: For its configuration and data.
            ports: Of the exporters, by robot.
            rules: Whether it has our alert rules.
        """
        binary = installed_program("prometheus")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus/*.rules.yml")] if rules else []
        config["scrape_configs"][0]["static_configs"] = [
            {"targets": [f"127.0.0.1:{target}"], "labels": {"robot": robot}}
            for robot, target in ports.items()
        ]
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config), "utf-8")
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                binary,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Prometheus:
        self.wait_until(self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20.0)
        self._log.close()

    def _is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=5.0).close()
        except OSError:
            return False
        return True

    def get(self, path: str, **parameters: str) -> Any:
        """Return `data` of an answer of the HTTP API v1."""
        place = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(place, timeout=10.0) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[Any]:
        """Return the samples of an expression now."""
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def wait_until(
        self, condition: Callable[[], object], meanwhile: Callable[[float], object] = time.sleep
    ) -> None:
        """Wait for a condition on the server's data; `meanwhile` takes a time, s."""
        ends_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < ends_s, "waited in vain"
            assert self._process.poll() is None, "Prometheus has ended"
            meanwhile(0.2)


def dashboard_expressions() -> list[str]:
    """Return the expressions of the dashboard, its variables replaced as Grafana does."""
    dashboard = json.loads((DEPLOY / "grafana/policy_inference.json").read_text("utf-8"))
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$robot", ".+")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
