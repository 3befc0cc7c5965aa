# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The servers of the fleet: a registry, Prometheus, and a network that can be cut."""

import json
import shutil
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from examples.demos.runner import LOOPBACK, LoggedProcess, free_port, wait_until
from robot_sim.errors import SimError

PACKAGES = {
    "docker-registry": "docker-registry",
    "prometheus": "prometheus",
    "ansible-playbook": "ansible-core",
    "openssl": "openssl",
}
"""Debian package that provides each program."""
_OF_THE_COMPUTER = ("PolicySlow", "DeviceHot")
"""Alerts about the computer on which all robots are simulated."""
_READY_WITHIN_S = 60.0
_CHUNK_BYTES = 1 << 16


def require_programs() -> None:
    """Raise SimError, with the packages to install, if a program is missing."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing:
        packages = " ".join(PACKAGES[name] for name in missing)
        raise SimError(
            f"expected {', '.join(missing)} on the PATH, found none; "
            f"sudo apt-get install {packages} (Debian, Ubuntu)"
        )


class Server:
    """A server process with its own port; it can be killed and restarted."""

    def __init__(self, words: list[str], port: int, log: Path, mark: Mapping[str, str]) -> None:
        """Start the server, and wait until it listens.

        Args:
            words: Command and arguments.
            port: The server's port.
            log: File for its output.
            mark: Environment variables that identify the server's processes.
        """
        self.port, self.log = port, log
        self._words, self._mark = words, mark
        self.start()

    def start(self) -> None:
        self._process = LoggedProcess(self._words, self.log, environment=self._mark)
        what = f"{self._words[0]} to listen at port {self.port} (see {self.log})"
        wait_until(self._listens, what, _READY_WITHIN_S)

    def _listens(self) -> bool:
        with suppress(OSError):
            socket.create_connection((LOOPBACK, self.port), 1.0).close()
            return True
        self._process.check()
        return False

    def kill(self) -> None:
        """Kill the server without warning."""
        self._process.send(signal.SIGKILL)
        self._process.end()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.stop()


def start_registry(folder: Path, mark: Mapping[str, str], **more: Any) -> Server:
    """Start an OCI registry, Debian's `docker-registry`; the folder keeps the bundles.

    Args:
        folder: Folder for the registry's configuration and data.
        mark: Environment variables that identify the registry's processes.
        more: Additional configuration: `auth`, or the `tls` entry of `http`.
    """
    port = free_port()
    config = folder / "registry.yml"
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder.resolve() / "registry")}},
        "http": {"addr": f"{LOOPBACK}:{port}", "secret": "of the demo", "tls": more.pop("tls", {})},
    } | more
    config.write_text(json.dumps(settings), "utf-8")
    words = ["docker-registry", "serve", str(config)]
    return Server(words, port, folder / "registry.log", mark)


def start_prometheus(
    folder: Path, deploy: Path, ports: Mapping[str, int], mark: Mapping[str, str]
) -> Server:
    """Start Prometheus with the suite's configuration and alert rules.

    Args:
        folder: Folder for Prometheus's configuration and data.
        deploy: The suite's `deploy/prometheus`.
        ports: Ports of the robots' metrics, by robot name.
        mark: Environment variables that identify Prometheus's processes.
    """
    rules = yaml.safe_load((deploy / "policy_inference.rules.yml").read_text("utf-8"))
    for group in rules["groups"]:
        group["rules"] = [one for one in group["rules"] if one["alert"] not in _OF_THE_COMPUTER]
    (folder / "rules.yml").write_text(yaml.safe_dump(rules), "utf-8")
    config = yaml.safe_load((deploy / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = ["rules.yml"]
    config["scrape_configs"][0]["static_configs"] = [
        {"targets": [f"{LOOPBACK}:{port}"], "labels": {"robot": robot}}
        for robot, port in ports.items()
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    words = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    return Server(words, port, folder / "prometheus.log", mark)


class Network:
    """A relay to a port on this machine; it forwards nothing while the network is cut.

    Attributes:
        port: The port on which the relay listens.
    """

    def __init__(self, target: int) -> None:
        """Start relaying.

        Args:
            target: Destination port.
        """
        self._target, self._is_cut = target, False
        self._open, self._lock = set[socket.socket](), threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._listen, name="network", daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and block new ones."""
        with self._lock:
            self._is_cut = True
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Allow connections again."""
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._is_cut:
                return
            with socket.create_connection((LOOPBACK, self._target), 5.0) as server:
                server.settimeout(None)
                with self._lock:
                    self._open |= {client, server}
                back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join()
                with self._lock:
                    self._open -= {client, server}


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(_CHUNK_BYTES):
            sink.sendall(part)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_WR)
