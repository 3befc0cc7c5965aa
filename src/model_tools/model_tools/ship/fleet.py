# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""State of each robot in a fleet, from Prometheus or from the robots' own metrics.

Health has one source: with Prometheus, the alert rules in the `policy_inference` group; without it,
the nodes' own status. A robot without data is unknown, never healthy.
"""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from model_tools.errors import ToolError
from policy_core.bundle.schema import load_yaml
from policy_core.errors import PolicyError, printable
from policy_store.registry.connection import exchange, within

HEALTHY, BAD, UNKNOWN = "healthy", "bad", "unknown"
EXIT_STATUS = {HEALTHY: 0, BAD: 1, UNKNOWN: ToolError.exit_status}
RULES = "policy_inference"
"""Group of the alert rules that judge robots, from `deploy/prometheus`."""
_PREFIX = "policy_inference"
_SAMPLES = f'{{__name__=~"{_PREFIX}_.+",robot!=""}}'
_SEEN = f'last_over_time({_PREFIX}_info{{robot!=""}}[1d])'
"""Robots that reported within the last day are expected to report now."""
_WITHIN_S, _AT_ONCE = 10.0, 16
_LARGEST_BYTES, _LARGEST_OF_ROBOT_BYTES = 32 << 20, 4 << 20
"""Size limits of an answer from Prometheus, and of a robot's metrics, which take 50 kB and parse
slowly.
"""
_LONGEST_LINE = 1 << 13
"""Maximum length of a line of metrics; the parser's time grows with the square of the length."""
_LONGEST = 600
"""Maximum length of a name or reason."""
_ENDS_S = 253_402_300_800.0
"""The year 10000, the limit of valid times."""
_LEVELS = {1.0: (UNKNOWN, "a warning"), 2.0: (BAD, "an error")}
"""Levels of /diagnostics; a warning proves neither health nor a fault."""

_OTHER_SHAPE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
Sample = tuple[str, Mapping[str, str], float]
"""Name without prefix, labels, value."""


class Remark(NamedTuple):
    """A reason why a robot is not healthy.

    Attributes:
        health: Resulting health.
        text: Description.
        since_s: Unix time at which the problem began; None if unknown.
        version: The version concerned; empty for the running one.
    """

    health: str
    text: str
    since_s: float | None = None
    version: str = ""


class NoAnswerError(ToolError):
    """Metrics cannot be read, so there is no data for a verdict on a robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRobot:
    """State of one robot of a fleet.

    Attributes:
        robot: Name of the robot.
        policy: NAME@VERSION of the running policy; comma-separated if several, empty if unknown.
        sha256: Hash of each policy's contract.
        stage: shadow, canary, production or unknown.
        health: HEALTHY, BAD or UNKNOWN.
        reasons: Why the robot is not healthy, one sentence each.
        since_s: Unix time since which the robot has been bad, or has run this policy; None if
            unknown.
        run_s: Time in RUN with this policy, s.
    """

    robot: str
    policy: str = ""
    sha256: str = ""
    stage: str = UNKNOWN
    health: str = UNKNOWN
    reasons: tuple[str, ...] = ()
    since_s: float | None = None
    run_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReading:
    """Metrics of a fleet at one time.

    Attributes:
        samples: Current metrics by robot; empty for an expected robot that does not report.
        remarks: The source's own reasons why a robot is not healthy, by robot.
        judges: True if the source judges health itself, so that the nodes' own levels are not used.
    """

    samples: Mapping[str, Sequence[Sample]]
    remarks: Mapping[str, Sequence[Remark]]
    judges: bool


def read_prometheus(url: str, expected: Iterable[str] = ()) -> FleetReading:
    """Read the fleet from a Prometheus server, with its alerts.

    Args:
        url: URL of the server.
        expected: Robots that are listed even if the server has no data about them.
    """
    try:
        seen, now, groups = _query(url, _SEEN), _query(url, _SAMPLES), _api(url, "rules?type=alert")
        rules = [rule for one in groups["groups"] if one["name"] == RULES for rule in one["rules"]]
        alerts, problem = [*_alerts(rules)], _rules_problem(rules)
    except _OTHER_SHAPE as error:
        raise NoAnswerError(
            f"{url}: expected an answer from Prometheus' HTTP API v1, found a "
            f"different one ({error!r:.200})"
        ) from error
    samples = dict[str, list[Sample]]()
    for robot in (*expected, *(labels.get("robot", "?") for _, labels, _ in seen)):
        samples.setdefault(robot, [])
    for sample in now:
        samples.setdefault(sample[1].get("robot", "?"), []).append(sample)
    remarks = dict[str, list[Remark]]()
    for robot, remark in alerts:
        samples.setdefault(robot, [])
        remarks.setdefault(robot, []).append(remark)
    for robot in samples if problem else ():
        remarks.setdefault(robot, []).append(Remark(UNKNOWN, problem))
    return FleetReading(samples=samples, remarks=remarks, judges=True)


def read_robots(metrics_urls: Mapping[str, str]) -> FleetReading:
    """Read each robot's metrics from the robot itself; a robot that does not answer is unknown.

    Args:
        metrics_urls: URL of the exporter, by robot.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = dict(
            zip(metrics_urls, threads.map(_text_or_problem, metrics_urls.values()), strict=True)
        )
    samples, remarks = dict[str, list[Sample]](), dict[str, list[Remark]]()
    for robot, (text, problem) in answers.items():
        try:
            samples[robot] = [*_parsed(text)]
        except _OTHER_SHAPE as error:  # the parser raises various types
            samples[robot] = []
            problem = (
                f"{metrics_urls[robot]}: expected metrics, found text that cannot be parsed "
                f"({error!r:.200})"
            )
        remarks[robot] = [Remark(UNKNOWN, problem)] if problem else []
    return FleetReading(samples=samples, remarks=remarks, judges=False)


def read_inventory(file: Path, limit: str = "") -> dict[str, str]:
    """Return the metrics URL of each host in an Ansible inventory (YAML).

    Args:
        file: The inventory; `metrics_url` is a variable of each host.
        limit: A group or host to select; empty for all.
    """
    urls, hosts_of, groups_of = dict[str, str](), dict[str, list[str]](), dict[str, list[str]]()

    def mapping(value: object, where: str) -> dict[Any, Any]:
        if value is not None and not isinstance(value, dict):
            raise ToolError(f"{file}: {where}: expected a mapping, found {value!r:.80}")
        return value or {}

    def walk(name: str, content: object) -> None:
        group = mapping(content, name)
        for host, variables in mapping(group.get("hosts"), f"{name}.hosts").items():
            url = mapping(variables, f"{host}").get("metrics_url", "")
            urls[str(host)] = str(url) or urls.get(str(host), "")
            hosts_of.setdefault(name, []).append(str(host))
        for child, below in mapping(group.get("children"), f"{name}.children").items():
            groups_of.setdefault(name, []).append(str(child))
            walk(str(child), below)

    for name, content in mapping(load_yaml(file), "inventory").items():
        walk(str(name), content)
    wanted = [limit] if limit else [*hosts_of]
    for name in wanted:  # grows: the file may define the parts of a group elsewhere
        wanted += [child for child in groups_of.get(name, []) if child not in wanted]
    inside = {limit, *(host for name in wanted for host in hosts_of.get(name, []))}
    found = {host: url for host, url in urls.items() if host in inside}
    if not found:
        raise ToolError(f"{file}: expected hosts{f' in {limit}' if limit else ''}, found none")
    hosts = dict[str, str]()
    for host, url in found.items():
        if url and hosts.setdefault(url, host) != host:  # one robot would count as two
            raise ToolError(
                f"{file}: {host}.metrics_url: expected a URL of its own, found that of "
                f"{hosts[url]}, {url}; correct it, or remove one of the two hosts"
            )
    return found


def judge_fleet(
    reading: FleetReading,
    *,
    only: Iterable[str] | None = None,
    policy: str = "",
    run_s: float = 0.0,
) -> list[FleetRobot]:
    """Return the state of each robot, sorted by name.

    Args:
        reading: Metrics of the fleet.
        only: Robots to judge; None for all in `reading`.
        policy: NAME@VERSION that each robot must run to be healthy; if this version is on trial,
            the trial must be complete; trials of other versions do not count. Empty for any policy.
        run_s: Minimum time in RUN with its policy for a robot to count as healthy, s.
    """
    names = sorted(reading.samples if only is None else set(only))
    return [_judge(robot, reading, policy, run_s) for robot in names]


def worst(states: Iterable[FleetRobot]) -> str:
    """Return a fleet's health: BAD if any robot is, else UNKNOWN if any is or there are none."""
    found = {state.health for state in states} or {UNKNOWN}
    return next(health for health in (BAD, UNKNOWN, HEALTHY) if health in found)


def _judge(robot: str, reading: FleetReading, policy: str, run_s: float) -> FleetRobot:
    samples = reading.samples.get(robot, ())
    infos = [labels for name, labels, _ in samples if name == "info"]
    runs_s = filter(math.isfinite, _values(samples, "mode_seconds_total", mode="RUN"))
    state = FleetRobot(
        robot=robot,
        policy=", ".join(f"{labels.get('bundle')}@{labels.get('version')}" for labels in infos),
        sha256=", ".join(labels.get("sha256", "") for labels in infos),
        stage=_stage(samples),
        run_s=max(runs_s, default=0.0),
    )
    remarks = [*reading.remarks.get(robot, ()), *_own_remarks(samples, reading.judges)]
    if policy:
        about = ("", policy.partition("@")[2])
        remarks = [remark for remark in remarks if remark.version in about]
    if not samples:
        remarks.append(Remark(UNKNOWN, "no data"))
    elif not infos:
        remarks.append(Remark(UNKNOWN, "it reports no policy"))
    elif policy and state.policy != policy:
        remarks.append(Remark(UNKNOWN, f"it runs {state.policy}, expected {policy}"))
    elif policy and _trial_state(samples) == "open":
        done, whole = (
            max(_values(samples, f"trial_run_{what}"), default=0.0)
            for what in ("seconds", "limit_seconds")
        )
        remarks.append(Remark(UNKNOWN, f"its trial is under way: {done:.0f} of {whole:.0f} s"))
    elif state.run_s < run_s:
        text = f"{state.run_s:.0f} s of RUN with this version, expected {run_s:g} s"
        remarks.append(Remark(UNKNOWN, text))
    found = {remark.health for remark in remarks}
    health = next((kind for kind in (BAD, UNKNOWN) if kind in found), HEALTHY)
    since = [
        remark.since_s for remark in remarks if remark.health == BAD and remark.since_s is not None
    ]
    if health == HEALTHY:
        since = [*_values(samples, "version_since_timestamp_seconds")]
    since = [since_s for since_s in since if 0.0 <= since_s < _ENDS_S]
    texts = tuple(dict.fromkeys(_shown(remark.text) for remark in remarks))
    return replace(state, health=health, reasons=texts, since_s=min(since, default=None))


def _own_remarks(samples: Sequence[Sample], judged: bool) -> Iterator[Remark]:
    """Yield the nodes' own remarks; if alerts judge health, only those about a missing node."""
    for name, labels, value in samples:
        node = labels.get("node", "")
        if name == "up" and value != 1.0:
            yield Remark(BAD, f"{node} publishes no status")
        if judged:
            continue
        if name == "latched" and value:
            yield Remark(BAD, f"{node} has a latched fault (until reset)")
        if name == "trial_state" and value and labels.get("state") == "failed":
            version = labels.get("version", "")
            yield Remark(BAD, f"{node}: the trial of {version} failed", version=version)
        if name == "diagnostics_level" and value != 0.0:
            health, level = _LEVELS.get(value, (UNKNOWN, f"level {value:g}"))
            yield Remark(health, f"{node} reports {level} in /diagnostics")


def _stage(samples: Sequence[Sample]) -> str:
    names = {name for name, _, _ in samples}
    if "info" not in names:
        return UNKNOWN
    if _trial_state(samples) in ("open", "passed"):
        return "canary"
    return "shadow" if "shadow_info" in names else "production"


def _trial_state(samples: Sequence[Sample]) -> str:
    """Return the state of the running version's trial; empty if it has none."""
    running = {labels.get("version") for name, labels, _ in samples if name == "info"}
    tried = {labels.get("version") for name, labels, _ in samples if name == "trial_info"}
    states = [
        labels.get("state", "")
        for name, labels, value in samples
        if name == "trial_state" and value
    ]
    return states[0] if running & tried and states else ""


def _values(samples: Iterable[Sample], wanted: str, **labels: str) -> Iterator[float]:
    for name, found, value in samples:
        if name == wanted and labels.items() <= found.items():
            yield value


def _query(url: str, expression: str) -> list[Sample]:
    found = list[Sample]()
    for entry in _api(url, f"query?{urllib.parse.urlencode({'query': expression})}")["result"]:
        labels = _labels(entry["metric"])
        name = labels.pop("__name__", "").removeprefix(f"{_PREFIX}_")
        found.append((name, labels, float(entry["value"][1])))
    return found


def _rules_problem(rules: Sequence[Any]) -> str:
    if not rules:
        return f"Prometheus has no alert rules of the group {RULES}"
    failing = [str(rule.get("name")) for rule in rules if rule.get("health") != "ok"]
    listed = ", ".join(failing)
    return f"alert rules not evaluated yet, or with an error: {listed}" if failing else ""


def _alerts(rules: Iterable[Any]) -> Iterator[tuple[str, Remark]]:
    """Yield the robot and remark of each alert, except informational ones."""
    for alert in (alert for rule in rules for alert in rule.get("alerts", ())):
        labels = _labels(alert["labels"])
        robot = labels.get("robot", "")
        if robot and labels.get("severity") != "info":
            yield (
                robot,
                Remark(
                    BAD if alert["state"] == "firing" else UNKNOWN,
                    f"{labels['alertname']}: {alert['annotations'].get('summary', '')}",
                    _unix_time(alert.get("activeAt", "")),
                    labels.get("version", ""),
                ),
            )


def _unix_time(text: str) -> float | None:
    """Convert an RFC 3339 time to Unix time; Python 3.10 itself parses neither ns nor Z."""
    try:
        return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp()
    except ValueError:
        return None


def _api(url: str, path: str) -> Any:
    place = f"{url.rstrip('/')}/api/v1/{path}"
    try:
        answer = json.loads(_fetch(place, _LARGEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"{url}: expected an answer from Prometheus, found: {error}") from error
    if isinstance(answer, dict) and answer.get("status") == "error":
        raise NoAnswerError(f"{url}: Prometheus refuses: {answer.get('error')}")
    return answer["data"]


def _labels(found: Mapping[Any, Any]) -> dict[str, str]:
    return {_shown(str(key)): _shown(str(value)) for key, value in found.items()}


def _shown(text: str) -> str:
    return printable(text[:_LONGEST]).replace("\n", " ")


def _text_or_problem(url: str) -> tuple[str, str]:
    if not url:
        return "", "no metrics_url"
    try:
        return _fetch(url, _LARGEST_OF_ROBOT_BYTES).decode("utf-8", "replace"), ""
    except NoAnswerError as error:
        return "", str(error)


def _parsed(text: str) -> Iterator[Sample]:
    longest = max(map(len, text.split("\n")))
    if longest > _LONGEST_LINE:
        raise ValueError(f"a line of {longest} characters")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(_PREFIX):
                name = sample.name.removeprefix(f"{_PREFIX}_")
                yield name, _labels(sample.labels), float(sample.value)


def _fetch(url: str, largest_bytes: int) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise NoAnswerError(
            f"{url}: expected a URL such as http://robot:9090, found one without http:// or "
            "https://"
        )

    def get() -> bytes:
        with exchange("GET", url, timeout_s=_WITHIN_S) as answer:
            if answer.status == 200:
                return answer.body(largest_bytes)
            place = answer.headers.get("Location")
        more = f", which redirects to {place[:200]}; use that URL" if place else ""
        raise NoAnswerError(f"{url}: expected an answer, found status {answer.status}{more}")

    try:
        return within(_WITHIN_S, get)
    except TimeoutError as error:
        raise NoAnswerError(f"{url}: expected an answer, found none: {error}") from error
    except PolicyError as error:
        raise NoAnswerError(*error.args) from error
