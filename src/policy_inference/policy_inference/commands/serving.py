# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `serve` subcommand: opens the policy and the endpoints, and serves until a signal."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version

import numpy as np

from policy_core.errors import BackendError
from policy_inference.backends.registry import parse_options
from policy_inference.machine.scheduling import lock_memory, set_cpu_affinity, set_realtime_priority
from policy_inference.processes import unblock_log
from policy_inference.service.credentials import read_certificate, read_token
from policy_inference.service.endpoints import EndpointOptions, Listener, open_listeners
from policy_inference.service.loop import ServiceLoop
from policy_inference.service.monitor import Monitor
from policy_inference.service.notify import Notifier
from policy_inference.service.open_inference_server import OpenInferenceServer
from policy_inference.service.opening import ServeRequest, open_graphs, open_served
from policy_inference.service.serving import ServedModel
from policy_store.signals import stopped_by_signals

_WATCHDOG_S = 1.0
_SWITCH_INTERVAL_S = 0.0002
"""Maximum time that another thread may hold the GIL while the loop waits for it."""
_log = logging.getLogger("policy_inference")


def serve(given: argparse.Namespace) -> int:
    """Serve until a signal; return the exit status."""
    logging.getLogger().setLevel(given.log_level.upper())
    unblock_log()
    for warning in set_cpu_affinity(given.cpus, "--cpus") if given.cpus else ():
        _log.warning("%s", warning)
    notifier = Notifier()
    if given.open_inference:
        return _serve_open_inference(given, notifier)
    with (
        closing(notifier),
        closing(open_served(_serve_request(given))) as model,
        _monitored(given, model, notifier) as monitor,
    ):
        # Only now, so that clients find a socket only once the model can answer.
        listeners = open_listeners(
            EndpointOptions(
                socket=given.socket,
                tcp=given.tcp,
                framed_socket=given.framed_socket,
                socket_group=given.socket_group,
                insecure_tcp=given.insecure_tcp,
            )
        )
        with (
            ServiceLoop(
                model,
                listeners,
                clients=given.clients,
                spin_ns=1000 * given.spin_us,
                observer=monitor,
            ) as loop,
            stopped_by_signals(loop.stop),
        ):
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
            # NaN and infinity are refused with a reason; numpy would also print warnings.
            np.seterr(all="ignore")
            # Existing objects are never collected; scanning them would delay answers by
            # milliseconds.
            gc.collect()
            gc.freeze()
            # Only now, when the threads of runtimes and metrics have started without these
            # settings.
            for warning in _real_time(given):
                _log.warning("%s", warning)
            _log_endpoints(model, listeners)
            notifier.ready(f"serves {model.name} {model.version}")
            loop.run()
            notifier.stopping()
    _log.info("ended")
    return 0


def _serve_open_inference(given: argparse.Namespace, notifier: Notifier) -> int:
    """Serve over gRPC, whose own threads answer requests; this thread only waits for the end."""
    certificate = (
        read_certificate(given.tls_cert, given.tls_key, given.tls_client_ca)
        if given.tls_cert
        else None
    )
    token = read_token(given.token_file) if given.token_file else b""
    ended, problems = threading.Event(), list[BackendError]()

    def failed(problem: BackendError) -> None:
        problems.append(problem)
        ended.set()

    with ExitStack() as opened:
        opened.callback(notifier.close)
        models = open_graphs(_serve_request(given), opened)
        np.seterr(all="ignore")
        server = OpenInferenceServer(
            given.open_inference,
            models,
            certificate=certificate,
            token=token,
            clients=given.clients,
            failed=failed,
        )
        opened.callback(server.close)
        for refused in _real_time(given):
            _log.warning("%s", refused)
        for name, model in models.items():
            details = ", ".join(model.backend.details.values())
            _log.info("serves %s %s (sha256 %s): %s", name, model.version, model.sha256, details)
        _log.info("%s: Open Inference Protocol%s", server.where, ", TLS" if certificate else "")
        with stopped_by_signals(ended.set):
            notifier.ready(f"serves {', '.join(models)}")
            _log.info("ready")
            while not ended.wait(_WATCHDOG_S):
                if all(model.answers_within(_WATCHDOG_S) for model in models.values()):
                    notifier.alive()
            notifier.stopping()
    if problems:
        raise problems[0]
    _log.info("ended")
    return 0


@contextmanager
def _monitored(
    given: argparse.Namespace, model: ServedModel, notifier: Notifier
) -> Iterator[Monitor]:
    """Yield the loop's monitor; metrics, if requested, are served within the `with` statement."""
    monitor = Monitor(model, notifier)
    with ExitStack() as opened:
        opened.callback(monitor.close)
        if given.metrics:
            # Imported here: rarely requested, and prometheus_client takes 20 ms to import.
            from policy_inference.metrics_server import MetricsServer
            from policy_inference.service.metrics import ServiceMetrics

            versions = {
                "service": version("policy_inference"),
                "policy": model.name,
                "policy_version": model.version,
                "policy_sha256": model.sha256.hex(),
                "backend": model.backend.name,
                **model.backend.details,
            }
            metrics = ServiceMetrics(
                monitor.counts, model.counters, versions, lambda: monitor.telemetry
            )
            server = opened.enter_context(
                closing(MetricsServer("--metrics", given.metrics, metrics))
            )
            _log.info("metrics: http://%s:%d/metrics", given.metrics[0], server.port)
            if server.is_beyond:
                _log.warning(
                    "metrics: other machines can read them, without encryption and without a "
                    "password"
                )
        yield monitor


def _real_time(given: argparse.Namespace) -> list[str]:
    """Apply the requested real-time settings to this thread; return the failures."""
    refused = lock_memory("--lock-memory") if given.lock_memory else []
    if given.priority:
        refused += set_realtime_priority(given.priority, "--priority")
    return refused


def _serve_request(given: argparse.Namespace) -> ServeRequest:
    return ServeRequest(
        bundle=given.bundle,
        model=given.model,
        obs_stats=given.obs_stats,
        obs_dim=given.obs_dim,
        act_dim=given.act_dim,
        precision=given.precision,
        backends=given.backend.split(","),
        options=parse_options(given.backend_option),
        public_key=given.public_key,
        batch=given.batch,
        warmup=given.warmup,
    )


def _log_endpoints(model: ServedModel, listeners: Sequence[Listener]) -> None:
    details = ", ".join(model.backend.details.values())
    _log.info(
        "serves %s %s (sha256 %s) on %s: %s",
        model.name,
        model.version,
        model.sha256.hex(),
        model.backend.name,
        details,
    )
    _log.info("observation float32[%d], action float32[%d]", model.obs_dim, model.action_dim)
    for listener in listeners:
        _log.info("%s: %s protocol", listener.where, listener.protocol)
        if listener.warning:
            _log.warning("%s", listener.warning)
    _log.info("ready")
