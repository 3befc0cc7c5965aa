# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Answers observations with actions over sockets, for control stacks without ROS.

    policy_inference serve --bundle lite3_walk --socket /run/user/1000/policy.sock

--socket and --tcp use the raw protocol: the observation as float32 in, the action as float32 out.
--framed-socket uses a protocol that reports errors, refuses clients that were built for another
policy, and offers shared memory. Without any of these options, a framed socket is used: policy.sock
in the runtime directory. docs/service_protocol.md defines the formats. --open-inference uses the
Open Inference Protocol (gRPC) instead, with TLS for other machines; robots connect to the service
with `backend:=oip`. Ctrl-C or SIGTERM ends the service with status 0.
"""
# run: swap: {/run/user/1000: .}
# run: ready: .

from __future__ import annotations

import argparse
import os
from pathlib import Path

from policy_core.errors import PolicyError
from policy_inference.machine.scheduling import parse_cpus
from policy_store.command_line import add_backend_options, add_bundle, number_within


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(until_stopped=True)
    policy = parser.add_argument_group("policy")
    add_bundle(policy, "folder of a bundle, or the name of an installed one", nargs="?", default="")
    policy.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="model without a contract, instead of --bundle",
    )
    policy.add_argument(
        "--obs-stats",
        type=Path,
        metavar="FILE",
        help="npz with mean and std, which normalize the observations of --model: "
        "(obs - mean) / max(std, 1e-3)",
    )
    policy.add_argument(
        "--obs-dim",
        type=number_within(1, 1 << 24),
        metavar="N",
        help="number of values in an observation of --model, if the file does not state it",
    )
    policy.add_argument(
        "--act-dim",
        type=number_within(1, 1 << 24),
        metavar="N",
        help="number of values in an action of --model, if the file does not state it",
    )
    policy.add_argument(
        "--precision",
        default="fp32",
        help="precision of --model: fp32, fp16, w8a8, ... (default fp32)",
    )
    policy.add_argument(
        "--public-key", default="", metavar="FILE", help="key that must have signed the bundle"
    )
    policy.add_argument(
        "--backend",
        default="onnx",
        metavar="A,B",
        help="back end for the model, or several; the first one that opens is used (default onnx)",
    )
    add_backend_options(policy)
    policy.add_argument(
        "--batch",
        type=number_within(1, 4096),
        default=1,
        metavar="N",
        help="maximum number of robots per inference; more than 1 needs a model with a "
        "dynamic batch axis (default 1)",
    )
    policy.add_argument(
        "--warmup",
        type=number_within(0, 1_000_000),
        default=32,
        metavar="N",
        help="number of warm-up inferences before the first client, for at most 5 s (default 32)",
    )

    places = parser.add_argument_group("endpoints")
    places.add_argument("--socket", type=Path, metavar="PATH", help="Unix socket, raw protocol")
    places.add_argument("--tcp", type=_place, metavar="HOST:PORT", help="TCP, raw protocol")
    places.add_argument(
        "--framed-socket", type=Path, metavar="PATH", help="Unix socket, framed protocol"
    )
    places.add_argument(
        "--open-inference",
        type=_place,
        metavar="HOST:PORT",
        help="gRPC, Open Inference Protocol version 2: the tensors of the model, or of each "
        "graph of a chunk policy; needs grpcio and protobuf; cannot be combined with "
        "another endpoint",
    )
    places.add_argument(
        "--socket-group",
        default="",
        metavar="GROUP",
        help="group whose members may connect to the Unix sockets (default: this process's group)",
    )
    places.add_argument(
        "--clients",
        type=number_within(1, 4096),
        default=64,
        metavar="N",
        help="maximum number of simultaneous clients over all endpoints (default 64)",
    )
    places.add_argument(
        "--token-file",
        type=_file,
        metavar="FILE",
        help="file with the token that clients of --open-inference must send; only its owner and "
        "group may have access; credential:NAME means systemd's LoadCredential=NAME:...",
    )
    places.add_argument(
        "--tls-cert",
        type=_file,
        metavar="FILE",
        help="certificate of --open-inference, PEM; required for serving other machines, as is "
        "--tls-client-ca or --token-file",
    )
    places.add_argument(
        "--tls-key",
        type=_file,
        metavar="FILE",
        help="private key of the service's certificate; protect the file like the token, or use "
        "credential:NAME",
    )
    places.add_argument(
        "--tls-client-ca",
        type=_file,
        metavar="FILE",
        help="CA that must have signed a client's certificate",
    )
    places.add_argument(
        "--spin-us",
        type=number_within(0, 1_000_000),
        default=0,
        metavar="N",
        help="time for which the service polls shared memory for the next request before it "
        "sleeps: faster answers, at the cost of a busy core (default 0)",
    )
    places.add_argument(
        "--insecure-tcp",
        action="store_true",
        help="let other machines reach --tcp, without encryption and without authentication",
    )

    operation = parser.add_argument_group("operation")
    operation.add_argument(
        "--cpus",
        type=_cpus,
        metavar="LIST",
        help="cores on which the process runs, such as 4-7 or 0,2",
    )
    operation.add_argument(
        "--priority",
        type=number_within(1, 99),
        metavar="N",
        help="real-time priority (SCHED_FIFO) of the thread that answers, 1 to 99",
    )
    operation.add_argument(
        "--lock-memory", action="store_true", help="keep the whole process in memory: no swapping"
    )
    operation.add_argument(
        "--metrics",
        type=_place,
        metavar="HOST:PORT",
        help="serve metrics for Prometheus at this address, such as 127.0.0.1:9464; every program "
        "that reaches it can read them",
    )

    parser.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="lowest level that is logged (default info)",
    )


def run(given: argparse.Namespace) -> int:
    problem = _contradiction(given)
    if problem:
        given.parser.error(problem)
    # Imported only after signal handlers are set, since this takes a while.
    from policy_inference.commands.serving import serve

    return serve(given)


def _contradiction(given: argparse.Namespace) -> str:
    """Return a description of the first contradiction between arguments; "" if there is none."""
    sockets = given.socket or given.tcp or given.framed_socket
    contradictions = (
        (
            bool(given.bundle) == (given.model is not None),
            "expected either --bundle, or --model for a file without a contract",
        ),
        (
            given.bundle and given.obs_stats,
            "--obs-stats: the bundle specifies how observations are normalized",
        ),
        (
            given.bundle and (given.obs_dim or given.act_dim),
            "--obs-dim and --act-dim: the bundle specifies them",
        ),
        (
            given.open_inference and (given.batch != 1 or given.obs_stats),
            "--open-inference: expected neither --batch nor --obs-stats (clients fill the tensors)",
        ),
        (
            (given.tls_cert is None) != (given.tls_key is None),
            "--tls-cert and --tls-key must be given together",
        ),
        (given.tls_client_ca and not given.tls_cert, "--tls-client-ca needs --tls-cert"),
        (
            (given.tls_cert or given.token_file) and not given.open_inference,
            "--tls-cert and --token-file need --open-inference",
        ),
        (
            given.open_inference and (sockets or given.metrics or given.spin_us),
            "--open-inference: expected no other endpoint, and neither --metrics nor --spin-us",
        ),
        (given.insecure_tcp and not given.tcp, "--insecure-tcp needs --tcp"),
        (
            given.socket and given.socket == given.framed_socket,
            "--socket and --framed-socket: expected two paths, found one",
        ),
    )
    return next((text for is_so, text in contradictions if is_so), "")


def _cpus(text: str) -> tuple[int, ...]:
    try:
        return parse_cpus(text)
    except PolicyError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _file(text: str) -> Path:
    """Parse a path, or `credential:NAME` in systemd's credentials folder."""
    scheme, colon, name = text.partition(":")
    if (scheme, colon) != ("credential", ":"):
        return Path(text)
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise argparse.ArgumentTypeError(
            f"expected CREDENTIALS_DIRECTORY in the environment for "
            f"{text!r}, found none; set LoadCredential={name}:FILE "
            "in the unit (systemd 247 or newer)"
        )
    if not name or name in (".", "..") or "/" in name:
        raise argparse.ArgumentTypeError(
            f"expected credential:NAME (such as credential:token), found {text!r}"
        )
    return Path(folder, name)


def _place(text: str) -> tuple[str, int]:
    """Parse HOST:PORT, with brackets around an IPv6 address."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare) != (bare != host) or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(
            f"expected HOST:PORT (such as 127.0.0.1:5555 or [::1]:5555), found {text!r}"
        )
    return bare, int(port)
