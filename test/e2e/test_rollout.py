# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real Ansible brings a version to robots in waves: each a folder, a node and an exporter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from policy_msgs.msg import PolicyStatus
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from examples.demos.runner import Processes, free_port
from model_tools.ship.fleet import judge_fleet, read_robots, worst
from policy_core.bundle.store import current_version
from policy_inference.nodes import qos
from policy_store.activation import activate
from policy_store.install import install
from policy_store.trial_record import TrialEvent
from policy_store.trials import begin_trial

from .limping import SHIPPED, renumbered_bundle

ROOT = Path(__file__).parents[2]
NAME, OLD, NEW = "lite3_walk", "1.0.0", "1.1.0"
WAVES = {"wave_1": ["r1"], "wave_2": ["r2", "r3"]}
ARCHIVE = "policy_archive=bundle.tar.gz"
PATIENCE_S = 60.0

pytestmark = [pytest.mark.ros, pytest.mark.acceptance]


class FolderRobot:
    """A node that reports the version in use in a folder, and latches a fault with some."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.models = name, folder / name
        self.limps_with = ""
        node = Node("joint_policy_node", namespace=name)
        publisher = node.create_publisher(PolicyStatus, "~/status", qos.STATUS)

        def publish() -> None:
            version = current_version(self.models / NAME) or ""
            latched = version == self.limps_with
            publisher.publish(
                PolicyStatus(bundle_name=NAME, bundle_version=version, latched=latched)
            )

        node.create_timer(0.1, publish)
        self.node = node

    @property
    def version(self) -> str | None:
        return current_version(self.models / NAME)


class Fleet:
    """Three robots in two waves, and what brings them a version.

    Attributes:
        robots: By name.
        hosts: Variables of each in the inventory.
    """

    def __init__(self, folder: Path, robots: Mapping[str, FolderRobot], ports: Mapping[str, int]):
        self._folder, self.robots = folder, robots
        for robot in robots.values():
            install(folder / f"bundle_{OLD}", robot.models)
            activate(robot.models, NAME, OLD)
        self.hosts: dict[str, dict[str, Any]] = {
            name: {
                "metrics_url": f"http://127.0.0.1:{ports[name]}/metrics",
                "policy_models_root": str(robot.models),
            }
            for name, robot in robots.items()
        }

    def write_inventory(self, file: Path, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the inventory of Ansible, with variables of each robot."""
        groups = {wave: {"hosts": {name: hosts[name] for name in WAVES[wave]}} for wave in WAVES}
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "policy_store_command": [sys.executable, "-m", "policy_store"],
        }
        file.write_text(yaml.safe_dump({"all": {"vars": variables, "children": groups}}))

    def rollout(
        self, *words: str, waves: Sequence[str] = (*WAVES,), source: str = ARCHIVE
    ) -> tuple[int, str]:
        """Bring version NEW in two waves; return exit status and output."""
        inventory = self._folder / "robots.yml"
        self.write_inventory(inventory, self.hosts)
        command = [str(ROOT / "deploy/ansible/rollout"), "-i", str(inventory)]
        command += ["-n", NAME, "-v", NEW, "-w", "4", *words, *waves]
        done = subprocess.run(
            [*command, "--", "-e", source],
            cwd=self._folder,
            env=os.environ | {"ANSIBLE_HOME": str(self._folder / "ansible"), "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    @property
    def versions(self) -> list[str | None]:
        return [robot.version for robot in self.robots.values()]


def spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


@pytest.fixture
def release_fleet(tmp_path: Path) -> Iterator[Fleet]:
    if shutil.which("ansible-playbook") is None:
        pytest.skip("ansible-playbook is not installed: apt-get install ansible-core")
    for version in (OLD, NEW):
        bundle = renumbered_bundle(SHIPPED, tmp_path / f"bundle_{version}", version)
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as archive:
        archive.add(bundle, "bundle")
    with ExitStack() as opened:
        rclpy.init(args=[])
        opened.callback(rclpy.try_shutdown)
        executor = SingleThreadedExecutor()
        robots = {
            name: FolderRobot(name, tmp_path / "robots") for wave in WAVES.values() for name in wave
        }
        ports = {name: free_port() for name in robots}
        exporters = opened.enter_context(Processes())
        for name, robot in robots.items():
            robot.models.mkdir(parents=True)
            executor.add_node(robot.node)
            log = tmp_path / f"{name}.log"
            where = {"__ns": f"/{name}"}
            exporters.start("robot_metrics", {"port": ports[name]}, log, remappings=where)
        found = Fleet(tmp_path, robots, ports)
        thread = threading.Thread(target=spin, args=(executor,), daemon=True)
        thread.start()
        opened.callback(thread.join)
        opened.callback(executor.shutdown)
        wait_until_healthy(found)
        yield found


def unreachable() -> dict[str, Any]:
    """Return variables of a robot on a port where nobody listens."""
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed: apt-get install openssh-client")
    host = {"ansible_host": "127.0.0.1", "ansible_port": free_port()}
    return {"ansible_connection": "ssh", **host}


def wait_until_healthy(release_fleet: Fleet) -> None:
    urls = {name: host["metrics_url"] for name, host in release_fleet.hosts.items()}
    ends_s = time.monotonic() + PATIENCE_S
    while worst(states := judge_fleet(read_robots(urls))) != "healthy":
        assert time.monotonic() < ends_s, states
        time.sleep(0.2)


def test_a_good_version_comes_to_all_waves(release_fleet: Fleet) -> None:
    status, output = release_fleet.rollout()
    assert status == 0, output
    assert release_fleet.versions == [NEW, NEW, NEW]


Spoil = Callable[[Fleet, Path], Mapping[str, Any]]
"""Prepares what goes wrong; returns arguments of `rollout` by name."""


def limps(release_fleet: Fleet, _: Path) -> Mapping[str, Any]:
    release_fleet.robots["r3"].limps_with = NEW
    return {}


def breaks_the_archive(_: Fleet, folder: Path) -> Mapping[str, Any]:
    (folder / "bundle.tar.gz").write_bytes(b"broken")
    return {}


def brings_the_old_version(release_fleet: Fleet, folder: Path) -> Mapping[str, Any]:
    with tarfile.open(folder / "old.tar.gz", "w:gz") as archive:
        archive.add(folder / f"bundle_{OLD}", "bundle")
    # Which must not be put into use instead.
    install(folder / f"bundle_{NEW}", release_fleet.robots["r1"].models)
    return {"source": "policy_archive=old.tar.gz"}


def is_unreachable(release_fleet: Fleet, _: Path) -> Mapping[str, Any]:
    release_fleet.hosts["r3"] |= unreachable()
    return {}


def refuses_to_load(release_fleet: Fleet, _: Path) -> Mapping[str, Any]:
    release_fleet.hosts["r1"]["policy_reload"] = ["sh", "-c", "echo load refused >&2; exit 4"]
    return {}


def has_no_prometheus(_: Fleet, __: Path) -> Mapping[str, Any]:
    return {"more": ("-m", f"http://127.0.0.1:{free_port()}")}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (limps, ("stopped in wave_2: not healthy", "r3: ", "has a latched fault (until reset)")),
        (breaks_the_archive, ("bundle.tar.gz", f"no robot has {NEW}")),
        (brings_the_old_version, (f"expected {NAME}@{NEW}, found {NAME}@{OLD}",)),
        (is_unreachable, ("stopped in wave_2: r3: could not be reached",)),
        (refuses_to_load, ("stopped in wave_1: r1: load refused", f"{OLD} is in use, but")),
        (has_no_prometheus, ("expected an answer",)),
    ],
)
def test_a_rollout_that_goes_wrong_stops_and_takes_all_robots_back(
    release_fleet: Fleet, tmp_path: Path, spoil: Spoil, said: tuple[str, ...]
) -> None:
    given = dict(spoil(release_fleet, tmp_path))
    status, output = release_fleet.rollout(*given.pop("more", ()), **given)
    assert (status, release_fleet.versions) == (1, [OLD, OLD, OLD]), output
    assert all(text in output for text in said), output


def test_a_robot_that_gets_lost_with_the_version_is_told_by_the_exit_status(
    release_fleet: Fleet, tmp_path: Path
) -> None:
    lost, r3 = tmp_path / "lost.yml", release_fleet.hosts["r3"]
    release_fleet.write_inventory(lost, release_fleet.hosts | {"r3": r3 | unreachable()})
    # The command that lets it use the version is its last one.
    r3["policy_reload"] = ["cp", str(lost), str(tmp_path / "robots.yml")]
    release_fleet.robots["r3"].limps_with = NEW
    status, output = release_fleet.rollout()
    assert (status, release_fleet.versions) == (3, [OLD, OLD, NEW]), output
    assert "by themselves" in output


def test_a_robot_that_does_not_load_the_version_before_is_told_by_the_exit_status(
    release_fleet: Fleet, tmp_path: Path
) -> None:
    once = 'mkdir "$0" || { echo load refused: the mode is RUN >&2; exit 4; }'
    release_fleet.hosts["r1"]["policy_reload"] = ["sh", "-c", once, str(tmp_path / "loaded")]
    release_fleet.robots["r1"].limps_with = NEW
    status, output = release_fleet.rollout()
    assert (status, release_fleet.versions) == (3, [OLD, OLD, OLD]), output
    last = output.splitlines()[-1]
    assert "back: r1:" in last
    assert f"{OLD} is" in last


def test_a_version_that_failed_its_trial_on_a_robot_comes_again_only_if_asked(
    release_fleet: Fleet, tmp_path: Path
) -> None:
    trial = tmp_path / "trial.yaml"
    trial.write_text("run_time_s: 60\n", "utf-8")
    models = release_fleet.robots["r1"].models
    install(tmp_path / f"bundle_{NEW}", models)
    begun = begin_trial(models, NAME, NEW, trial)
    begun.append(TrialEvent.CUT, reason="the power was cut")
    status, output = release_fleet.rollout()
    assert (status, release_fleet.versions) == (1, [OLD, OLD, OLD]), output
    assert "policy_again=true" in output.splitlines()[-1]
    assert "1.1.0" in output.splitlines()[-1]
    release_fleet.hosts["r1"]["policy_again"] = True
    status, output = release_fleet.rollout()
    assert (status, release_fleet.versions) == (0, [NEW, NEW, NEW]), output
