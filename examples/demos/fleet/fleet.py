# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The fleet as its operator sees it: robots, servers, an inventory, and the suite's commands."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from examples.demos.fleet.candidates import ReleaseCandidate, Workshop
from examples.demos.fleet.robot import MARK, DemoRobot, kill_marked
from examples.demos.fleet.servers import start_prometheus, start_registry
from examples.demos.fleet.timeline import Timeline
from examples.demos.runner import LoggedProcess
from robot_sim.errors import SimError

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
BUNDLE = "lite3_walk"
BASELINE = "1.0.0"
CANARY, PRODUCTION = "canary", "production"
"""Groups of the inventory, in roll-out order."""
PAYLOAD_KG = 5.5
"""Payload that the canary carries, so that a release that works only without load does not pass."""
_COMMAND_WITHIN_S = 900.0
"""Time limit for a command, generous enough for a busy machine."""
_LINES_SHOWN = 12


class Fleet:
    """Robots that walk with version BASELINE, and everything needed to release a new version.

    Attributes:
        robots: The robots by name; the first is the canary.
        timeline: Record of the robots' states.
        published: Versions pushed to the registry, in order, with their titles.
        registry: The registry.
        folder: Folder for all files.
    """

    def __init__(self, folder: Path, shipped: Path, *, robots: int, speed: float) -> None:
        """Start the robots and the servers.

        Args:
            folder: Empty folder for all files.
            shipped: Bundle shipped with the suite, from which all versions are made.
            robots: Number of robots.
            speed: Maximum simulation speed, in simulated seconds per second.
        """
        self.folder = folder
        self._mark = f"demo_{os.getpid()}"
        self._opened = ExitStack()
        self._log = threading.Lock()
        self.published = dict[str, str]()
        with ExitStack() as opened:
            opened.callback(kill_marked, self._mark)  # last: even if the rest failed
            self.workshop = Workshop(shipped, folder)
            mark = {MARK: self._mark}
            self.registry = opened.enter_context(start_registry(folder, mark))
            self.robots = {
                name: DemoRobot(
                    name,
                    folder / "robots" / name,
                    bundle=BUNDLE,
                    mark=self._mark,
                    public_key=self.workshop.public_key,
                    registry_port=self.registry.port,
                    payload_kg=0.0 if number else PAYLOAD_KG,
                    speed=speed,
                )
                for number, name in enumerate(f"lite3_{one + 1}" for one in range(robots))
            }
            opened.callback(self._close_robots)
            ports = {name: robot.to_metrics.port for name, robot in self.robots.items()}
            prometheus = start_prometheus(folder, DEPLOY / "prometheus", ports, mark)
            opened.enter_context(prometheus)
            self.prometheus_url = f"http://127.0.0.1:{prometheus.port}"
            self._write_inventory(ports)
            self.timeline = Timeline([*self.robots.values()])
            self._opened = opened.pop_all()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.timeline.stop()
        self._opened.close()

    def _close_robots(self) -> None:
        with ThreadPoolExecutor(len(self.robots)) as threads:
            list(threads.map(DemoRobot.close, self.robots.values()))

    @property
    def canary(self) -> DemoRobot:
        """The robot that tries new versions, carrying the payload."""
        return next(iter(self.robots.values()))

    @property
    def others(self) -> list[DemoRobot]:
        return [*self.robots.values()][1:]

    def publish(self, candidate: ReleaseCandidate) -> str:
        """Sign a candidate and push it; return its digest."""
        self.run("sign", candidate.folder, "--key", self.workshop.private_key)
        place = f"127.0.0.1:{self.registry.port}/fleet/{BUNDLE}"
        key = ("--public-key", self.workshop.public_key)
        digest = self.run("push", candidate.folder, place, *key).stdout.split()[-1]
        self.published[candidate.version] = candidate.title
        return digest

    def power_on(self, baseline: ReleaseCandidate, digest: str) -> None:
        """Install a version on all robots, and wait until they walk with that version."""
        robots = self.robots.values()
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda robot: self.pull(robot, digest, "--activate"), robots))
        self.timeline.start()
        for robot in robots:
            robot.power_on()
        self.wait_until_all_walk(baseline.version)

    def pull(self, robot: DemoRobot, digest: str, *more: object) -> None:
        """Have a robot pull a bundle and install it."""
        reference = f"127.0.0.1:{robot.to_registry.port}/fleet/{BUNDLE}@{digest}"
        words = ("pull", reference, "--install", *more, "--root", robot.models)
        self.run(*words, environment=robot.environment)

    def wait_until_all_walk(self, version: str = "", within_s: float = 180.0) -> None:
        """Wait until each robot walks with the version that its own store names.

        Args:
            version: The expected version; if empty, any version.
            within_s: Time limit.
        """
        ends_s = time.monotonic() + within_s
        while standing := self._not_walking(version):
            if time.monotonic() > ends_s:
                shown = "; ".join(
                    f"{one.name}: {one.view}, should run {one.wanted_version}" for one in standing
                )
                raise SimError(f"expected all robots to walk within {within_s:g} s, found {shown}")
            time.sleep(0.5)

    def walking(self) -> list[DemoRobot]:
        """Return the robots that are walking with the version that their own store names."""
        robots = [*self.robots.values()]
        with ThreadPoolExecutor(len(robots)) as threads:
            walk = [*threads.map(lambda robot: robot.walks, robots)]
        return [robot for robot, walks in zip(robots, walk, strict=True) if walks]

    def _not_walking(self, version: str) -> list[DemoRobot]:
        walking = [one for one in self.walking() if version in ("", one.view.version)]
        return [one for one in self.robots.values() if one not in walking]

    def run(
        self,
        *words: object,
        accepted: Sequence[int] = (0,),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "model_tools", *map(str, words)]
        shown = " ".join(["model_tools", *map(str, words)])
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_WITHIN_S,
                env={**os.environ, MARK: self._mark, **(environment or {})},
            )
        except subprocess.TimeoutExpired:
            raise SimError(
                f"{shown}: expected the command to end within {_COMMAND_WITHIN_S:g} s"
            ) from None
        with self._log, (self.folder / "commands.log").open("a", encoding="utf-8") as log:
            log.write(f"$ {shown}\n{done.stdout}{done.stderr}status {done.returncode}\n\n")
        if done.returncode not in accepted:
            lines = (done.stderr or done.stdout).strip().splitlines()[-_LINES_SHOWN:]
            raise SimError(f"{shown}: ended with status {done.returncode}:\n" + "\n".join(lines))
        return done

    def ask(self, *words: object, accepted: Sequence[int] = (0, 1, 4)) -> Any:
        """Run `model_tools` with the given arguments and `--json`; return the result."""
        return json.loads(self.run(*words, "--json", accepted=accepted).stdout)

    def roll_out(
        self, version: str, digest: str, trial: Path, waves: Sequence[str], *, wait_s: float
    ) -> LoggedProcess:
        """Start rolling out a version to the robots with Ansible, wave by wave.

        Args:
            version: The version.
            digest: Digest of the version in the registry.
            trial: The `trial.yaml` for each robot.
            waves: Groups of the inventory, in order.
            wait_s: Time limit for a wave to become healthy.
        """
        number = len([*self.folder.glob("rollout_*.log")]) + 1
        words = [
            str(DEPLOY / "ansible/rollout"),
            *("-i", str(self.folder / "robots.yml")),
            *("-n", BUNDLE, "-v", version, "-m", self.prometheus_url, "-w", f"{wait_s:g}"),
            *waves,
            "--",
            *("-f", str(len(self.robots))),
            *("-e", f"digest={digest}", "-e", f"policy_trial={trial.resolve()}"),
        ]
        log = self.folder / f"rollout_{number}_{version}.log"
        return LoggedProcess(words, log, environment=self._ansible)

    def take_back(self, version: str) -> int:
        """Roll back all reachable robots that run a version; return the exit status."""
        words = [
            *("ansible-playbook", str(DEPLOY / "ansible/release.yml")),
            *("-i", str(self.folder / "robots.yml"), "-f", str(len(self.robots))),
            *("-e", f"policy_name={BUNDLE}", "-e", f"policy_version={version}"),
            *("-e", "policy_action=rollback"),
        ]
        log = self.folder / f"take_back_{version}.log"
        process = LoggedProcess(words, log, environment=self._ansible)
        try:
            return process.wait(_COMMAND_WITHIN_S)
        finally:
            process.stop()

    @property
    def _ansible(self) -> dict[str, str]:
        return {
            MARK: self._mark,
            "ANSIBLE_HOME": str((self.folder / "ansible").resolve()),
            "ANSIBLE_PIPELINING": "True",
            "LC_ALL": "C.UTF-8",
        }

    def _write_inventory(self, metrics_ports: Mapping[str, int]) -> None:
        hosts = {
            name: {
                "metrics_url": f"http://127.0.0.1:{metrics_ports[name]}/metrics",
                "policy_models_root": str(robot.models.resolve()),
                "policy_store_command": [
                    *robot.reaching_it,
                    *(sys.executable, "-m", "policy_store"),
                ],
                "repository": f"127.0.0.1:{robot.to_registry.port}/fleet/{BUNDLE}",
            }
            for name, robot in self.robots.items()
        }
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "policy_reference": "{{ repository }}@{{ digest }}",
        }
        groups = {
            CANARY: {"hosts": {self.canary.name: hosts[self.canary.name]}},
            PRODUCTION: {"hosts": {robot.name: hosts[robot.name] for robot in self.others}},
        }
        document = {"all": {"vars": variables, "children": groups}}
        (self.folder / "robots.yml").write_text(yaml.safe_dump(document), "utf-8")
