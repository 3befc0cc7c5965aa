# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs commands such as `ros2 launch` as a user does, in a terminal's process group of its own."""

import os
import queue
import re
import signal
import subprocess
import threading
import time

import pytest


def require_launch() -> None:
    """Skip the test where there is no `ros2 launch`."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed (no wheels of it)")


class CommandRun:
    """A command in a process group of its own, and what it prints."""

    def __init__(self, *command: str) -> None:
        self.output = ""
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, pattern: str, timeout_s: float = 60.0) -> str:
        """Return the first new line that matches; fail with the output if there is none."""
        deadline = time.monotonic() + timeout_s
        while (line := self._next_line(deadline)) is not None:
            if re.search(pattern, line):
                return line
        pytest.fail(f"it printed no line like {pattern!r}:\n{self.output}")

    def hears(self, *words: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not all(word in self.output for word in words):
            assert self._next_line(deadline) is not None, f"not heard {words}:\n{self.output}"

    def wait_for_end(self, timeout_s: float = 30.0) -> int:
        deadline = time.monotonic() + timeout_s
        while self._next_line(deadline) is not None:
            pass
        try:
            return self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end:\n{self.output}")

    def refuses(self, *words: str) -> None:
        """Require that it ends before anything starts, with a line that has all these words."""
        assert self.wait_for_end() == 1
        self.says(*words)
        assert "process started" not in self.output

    def says(self, *words: str) -> None:
        lines = self.output.splitlines()
        assert any(all(word in line for word in words) for line in lines), self.output

    def is_interrupted(self, nodes: int) -> None:
        self.send(signal.SIGINT)
        assert self.wait_for_end() == 0
        assert self.ended_cleanly() == nodes, self.output

    def ended_cleanly(self) -> int:
        """Return how many processes have ended without fault, as `ros2 launch` calls it."""
        return self.output.count("process has finished cleanly")

    def send(self, number: signal.Signals) -> None:
        """Signal the whole group, as the terminal does."""
        os.killpg(self.process.pid, number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def _next_line(self, deadline: float) -> str | None:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        self.output += line or ""
        return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)
