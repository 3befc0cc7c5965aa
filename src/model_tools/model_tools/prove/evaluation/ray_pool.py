# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs trials on a Ray cluster whose nodes have the suite installed; sends them the bundles.

If a node dies, its trials are started again on another node.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_tools.errors import ToolError
from model_tools.prove.evaluation.pool import ATTEMPTS, NotDone, Results, done_or_not
from model_tools.prove.evaluation.trials import EvaluatedPolicy, TrialRow, TrialTask, run_trial
from policy_store.hosts import is_loopback

_AHEAD = 2
"""Trials sent ahead per processor, to keep processors busy."""
_LOOK_EACH_S = 1.0
Files = Mapping[str, bytes]


class RayPool:
    """The processors of a Ray cluster, each running one trial at a time."""

    def __init__(
        self, address: str, policies: Sequence[EvaluatedPolicy], *, time_limit_s: float
    ) -> None:
        """Check that Ray is installed, without connecting yet.

        Args:
            address: Address of the cluster, HOST:PORT.
            policies: Policies whose bundles are sent to the nodes.
            time_limit_s: Time limit of a trial.
        """
        self._ray, self._address = _imported(), address
        self._policies, self._time_limit_s = tuple(policies), time_limit_s

    def run(self, tasks: Iterable[TrialTask]) -> Results[TrialTask, TrialRow]:
        ray = self._ray
        with self._connected() as processors:
            files = {
                policy.sha256: ray.put(_read_files(policy.folder)) for policy in self._policies
            }
            remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_on_node)
            waiting, running = iter(tasks), dict[Any, tuple[TrialTask, float]]()
            while True:
                while len(running) < _AHEAD * processors:
                    task = next(waiting, None)
                    if task is None:
                        break
                    handle = remote.remote(task, files[task.policy.sha256])
                    running[handle] = task, time.monotonic()
                if not running:
                    return
                done, _ = ray.wait([*running], num_returns=1, timeout=_LOOK_EACH_S)
                for handle in done:
                    task, _ = running.pop(handle)
                    yield task, self._result(handle)
                yield from self._overdue(running)

    def _result(self, handle: Any) -> TrialRow | NotDone:
        try:
            row: TrialRow | NotDone = self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            return NotDone(f"{type(error).__name__}, {ATTEMPTS} times: {reason}")
        return row

    def _overdue(
        self, running: dict[Any, tuple[TrialTask, float]]
    ) -> Iterator[tuple[TrialTask, TrialRow | NotDone]]:
        """Give up on trials that were sent too long ago, even if they were only waiting."""
        limit_s = ATTEMPTS * _AHEAD * self._time_limit_s
        for handle, (task, sent_s) in list(running.items()):
            if time.monotonic() - sent_s > limit_s:
                del running[handle]
                self._ray.cancel(handle, force=True)
                yield task, NotDone(f"had no result {limit_s:g} s after it was sent to a node")

    @contextmanager
    def _connected(self) -> Iterator[int]:
        """Connect; yield the number of processors, at least one."""
        ray, host = self._ray, self._address.rpartition(":")[0]
        # If both addresses are loopback, Ray would use a network address for this machine.
        own = {"_node_ip_address": host} if is_loopback(host) else {}
        try:
            ray.init(
                address=self._address,
                log_to_driver=False,
                configure_logging=False,
                **own,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ToolError(
                f"--ray {self._address}: expected a Ray cluster, found: "
                f"{' '.join(str(error).split())[:300]}; is it running, with the same versions of "
                "Ray and Python?"
            ) from error
        try:
            processors = int(ray.cluster_resources().get("CPU", 0))
            if processors < 1:
                raise ToolError(
                    f"--ray {self._address}: expected nodes with CPUs, found none; run "
                    "`ray start --address=HOST:PORT` on each node"
                )
            yield processors
        finally:
            ray.shutdown()


def _on_node(task: TrialTask, files: Files) -> TrialRow | NotDone:
    """Run a trial on a node, with a copy of the bundle that the node's process keeps."""

    def tried(task: TrialTask) -> TrialRow:
        folder = Path(_copies().name) / task.policy.sha256
        if not folder.exists():
            for name, content in files.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        policy = dataclasses.replace(task.policy, folder=folder)
        return run_trial(dataclasses.replace(task, policy=policy))

    return done_or_not(tried, task)


@functools.cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="model_tools_evaluate-")


def _read_files(folder: Path) -> Files:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ToolError(
            f"--ray: expected the ray package, found no such package ({error}); install "
            "it with `pip install "
            "ray`, or leave out --ray to use this machine's processors"
        ) from error
    return ray
