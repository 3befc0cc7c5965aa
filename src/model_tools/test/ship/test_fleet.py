# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of a fleet: from robots that answer, that do not, and from odd servers."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given as drawn

from model_tools.cli import main
from model_tools.commands import fleet_status
from model_tools.ship import fleet
from model_tools.ship.fleet import (
    NoAnswerError,
    judge_fleet,
    read_inventory,
    read_prometheus,
    read_robots,
)
from policy_core.errors import PolicyError
from testkit.fuzzing import bounded, changed_bytes
from testkit.wording import check_wording, refusal

HEALTHY = """
policy_inference_up{{robot="{robot}",node="/p"}} {up}
policy_inference_info{{robot="{robot}",node="/p",bundle="walk",version="1.3.0",sha256="ab"}} 1
policy_inference_latched{{robot="{robot}",node="/p"}} {latched}
policy_inference_diagnostics_level{{robot="{robot}",node="/p"}} {level}
policy_inference_version_since_timestamp_seconds{{robot="{robot}",node="/p"}} 1000
policy_inference_mode_seconds_total{{robot="{robot}",node="/p",mode="RUN"}} 30
policy_inference_mode_seconds_total{{robot="{robot}",node="/p",mode="DAMP"}} 90
"""


def metrics(robot: str = "a", up: int = 1, latched: int = 0, level: int = 0) -> str:
    return HEALTHY.format(robot=robot, up=up, latched=latched, level=level)


class Web:
    """Answers by path of one host; `query` may choose by the expression."""

    url = "http://monitor"

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[dict[str, list[str]]], bytes]] = {}
        self._others = fleet._fetch

    def fetch(self, url: str, largest_bytes: int) -> bytes:
        parts = urlsplit(url)
        if parts.hostname != "monitor":
            return self._others(url, largest_bytes)
        if parts.path not in self.answers:
            raise NoAnswerError(f"{url}: expected an answer, found status 404")
        return self.answers[parts.path](parse_qs(parts.query))

    def robot(self, path: str, text: str) -> str:
        self.answers[path] = lambda _: text.encode()
        return f"{self.url}{path}"

    def prometheus(
        self, text: str, alerts: list[dict[str, Any]] | None, *, seen: str = "", health: str = "ok"
    ) -> str:
        """Answer as Prometheus with the samples of a text; without rules if `alerts` is None."""

        def query(given: dict[str, list[str]]) -> bytes:
            is_seen = "last_over_time" in given["query"][0]
            found = [
                {
                    "metric": {"__name__": f"policy_inference_{name}"} | dict(labels),
                    "value": [0, str(value)],
                }
                for name, labels, value in fleet._parsed((is_seen and seen) or text)
                if not is_seen or "version" in labels
            ]
            data = {"resultType": "vector", "result": found}
            return json.dumps({"status": "success", "data": data}).encode()

        rules = [{"name": "AnAlert", "health": health, "alerts": alerts}]
        groups = [] if alerts is None else [{"name": "policy_inference", "rules": rules}]
        text_of_rules = json.dumps({"status": "success", "data": {"groups": groups}}).encode()
        self.answers |= {"/api/v1/query": query, "/api/v1/rules": lambda _: text_of_rules}
        return self.url


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(fleet, "_fetch", web.fetch)
    return web


def alert(state: str = "firing", severity: str = "critical", robot: str = "a") -> dict[str, Any]:
    return {
        "labels": {"alertname": "AnAlert", "severity": severity, "robot": robot},
        "annotations": {"summary": "it limps"},
        "state": state,
        "activeAt": "2026-11-22T10:00:00.123456789Z",
    }


def test_robot_that_reports_no_fault_is_healthy(web: Web) -> None:
    (state,) = judge_fleet(read_robots({"a": web.robot("/a", metrics())}))
    assert (state.health, state.policy, state.stage) == ("healthy", "walk@1.3.0", "production")
    assert (state.since_s, state.run_s, state.reasons) == (1000.0, 30.0, ())


@pytest.mark.parametrize(
    ("changes", "health"),
    [({"up": 0}, "bad"), ({"latched": 1}, "bad"), ({"level": 2}, "bad"), ({"level": 1}, "unknown")],
    ids=["no status", "fault", "error", "warning"],
)
def test_what_the_nodes_say_decides_without_prometheus(
    web: Web, changes: dict[str, Any], health: str
) -> None:
    (state,) = judge_fleet(read_robots({"a": web.robot("/a", metrics(**changes))}))
    assert state.health == health
    check_wording(*state.reasons)


TRIAL = """
policy_inference_trial_info{{robot="a",node="/p",version="{version}",version_before="1.2.0"}} 1
policy_inference_trial_state{{robot="a",node="/p",version="{version}",state="open"}} {open}
policy_inference_trial_state{{robot="a",node="/p",version="{version}",state="failed"}} {failed}
"""


@pytest.mark.parametrize(
    ("more", "stage", "health"),
    [
        (TRIAL.format(version="1.3.0", open=1, failed=0), "canary", "healthy"),
        (TRIAL.format(version="1.2.0", open=1, failed=0), "production", "healthy"),
        (TRIAL.format(version="1.4.0", open=0, failed=1), "production", "bad"),
        ('policy_inference_shadow_info{robot="a",version="1.4.0"} 1\n', "shadow", "healthy"),
    ],
)
def test_stage_is_that_of_what_runs(web: Web, more: str, stage: str, health: str) -> None:
    (state,) = judge_fleet(read_robots({"a": web.robot("/a", metrics() + more)}))
    assert (state.stage, state.health) == (stage, health)


def test_failed_trial_of_another_version_says_nothing_of_the_one_asked_for(web: Web) -> None:
    text = metrics() + TRIAL.format(version="1.2.9", open=0, failed=1)
    reading = read_robots({"a": web.robot("/a", text)})
    assert [
        judge_fleet(reading, policy=f"walk@{version}")[0].health for version in ("1.3.0", "1.2.9")
    ] == ["healthy", "bad"]
    (state,) = judge_fleet(reading)
    assert state.health == "bad"
    check_wording(*state.reasons)


def test_a_trial_that_is_under_way_is_no_proof_of_its_version(web: Web) -> None:
    text = metrics() + TRIAL.format(version="1.3.0", open=1, failed=0)
    reading = read_robots({"a": web.robot("/a", text)})
    (state,) = judge_fleet(reading, policy="walk@1.3.0")
    assert state.health == "unknown"
    check_wording(*state.reasons)


@pytest.mark.parametrize(
    "text",
    ["", "policy_inference_policy_nodes 0\n", "\x00not{ metrics", "policy_inference_info 1\n"],
)
def test_robot_without_data_is_unknown(web: Web, text: str) -> None:
    states = judge_fleet(read_robots({"a": web.robot("/a", text)}), policy="walk@1.3.0")
    assert [state.health for state in states] == ["unknown"]


def test_robot_that_does_not_answer_is_unknown_and_the_others_are_shown(web: Web) -> None:
    urls = {
        "a": web.robot("/a", metrics()),
        "b": f"{web.url}/b",
        "c": "",
        "d": "file:///etc/passwd",
    }
    states = judge_fleet(read_robots(urls))
    assert [state.health for state in states] == ["healthy", "unknown", "unknown", "unknown"]
    check_wording(*states[1].reasons, *states[3].reasons)


def head(asked: socket.socket) -> None:
    """Send a header that never ends."""
    asked.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    drip_without_end(asked)


def drip_without_end(asked: socket.socket) -> None:
    """Send a byte now and then, each time before the time-out, until the other side has gone."""
    with suppress(OSError):
        while True:
            asked.sendall(b"x")
            time.sleep(0.01)  # is what is tried here


def hello_requests(asked: socket.socket) -> None:
    """Send TLS messages that mean nothing, each whole, before the handshake has begun."""
    asked.settimeout(1.0)  # the kernel notices after minutes that the client has gone
    with suppress(OSError):
        while True:
            asked.sendall(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000)


@contextmanager
def odd_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Give the port of a server that answers each connection in its own way."""
    accepted = list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    accepted.append(listening.accept()[0])
                    with accepted[-1] as connected:
                        answer(connected)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        for connected in accepted:  # the client has given up, and may still hold them
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("answer", [head, hello_requests])
def test_answer_that_comes_drop_by_drop_ends(
    answer: Callable[[socket.socket], None], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_WITHIN_S", 1.0)
    scheme = "https" if answer is hello_requests else "http"
    with odd_server(answer) as port:
        urls = {"a": f"{scheme}://127.0.0.1:{port}/", "b": web.robot("/b", metrics("b"))}
        a, b = judge_fleet(read_robots(urls))
    assert (a.health, b.health) == ("unknown", "healthy")
    assert f":{port}/" in a.reasons[0]


def test_redirects_and_parts_of_an_answer_are_no_answer(web: Web) -> None:
    def redirects(asked: socket.socket) -> None:
        asked.recv(4096)
        asked.sendall(f"HTTP/1.0 302 -\r\nLocation: {good}\r\n\r\n".encode())

    def cut(asked: socket.socket) -> None:
        asked.recv(4096)
        body = metrics().encode()
        asked.sendall(b"HTTP/1.0 200 -\r\nContent-Length: %d\r\n\r\n" % (len(body) + 9) + body)

    good = web.robot("/a", metrics())
    for answer in (redirects, cut):
        with odd_server(answer) as port:
            (state,) = judge_fleet(read_robots({"a": f"http://127.0.0.1:{port}/"}))
        assert state.health == "unknown"
        check_wording(*state.reasons)


@pytest.mark.parametrize("number", ["NaN", "+Inf", "1e300"])
@pytest.mark.parametrize("of_prometheus", [True, False])
def test_numbers_that_are_none_are_no_health(
    web: Web, number: str, of_prometheus: bool, tmp_path: Path
) -> None:
    for old, new, run_s in (
        ('mode="RUN"} 30', f'mode="RUN"}} {number}', 60.0),
        ('up{robot="a",node="/p"} 1', f'up{{robot="a",node="/p"}} {number}', 0.0),
    ):
        text = metrics().replace(old, new)
        assert number in text
        reading = (
            read_prometheus(web.prometheus(text, []))
            if of_prometheus
            else read_robots({"a": web.robot("/a", text)})
        )
        (state,) = judge_fleet(reading, run_s=run_s)
        if run_s and number == "1e300":
            assert state.run_s == 1e300
        else:
            assert state.health != "healthy"
    since = metrics().replace('seconds{robot="a",node="/p"} 1000', f'seconds{{robot="a"}} {number}')
    assert number in since
    inventory = tmp_path / "robots.yml"
    inventory.write_text(f"all: {{hosts: {{a: {{metrics_url: '{web.robot('/a', since)}'}}}}}}")
    assert main(["fleet", "status", "--inventory", str(inventory)]) == 0


def test_metrics_that_take_long_to_parse_are_none(web: Web) -> None:
    evil = metrics() + 'policy_inference_up{a="' + '\\"' * 1_500_000 + '"} 1\n'
    urls = {"evil": web.robot("/evil", evil), "a": web.robot("/a", metrics())}
    before_s = time.process_time()
    good, bad = judge_fleet(read_robots(urls))
    assert time.process_time() - before_s < 5.0
    assert (good.health, bad.health) == ("healthy", "unknown")
    check_wording(*bad.reasons)


@pytest.mark.parametrize("option", ["--run-s", "--wait-s"])
@pytest.mark.parametrize("number", ["nan", "-1"])
def test_times_that_are_none_are_refused(
    option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No run is shorter than NaN, so that each would be long enough."""
    with pytest.raises(SystemExit):
        main(["fleet", "status", "--inventory", "robots.yml", f"{option}={number}"])
    check_wording(capsys.readouterr().err.splitlines()[-1])


def test_names_command_no_terminal_and_no_page(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\ud800<script>alert(1)</script>" + "x" * 5000
    found = alert() | {"annotations": {"summary": evil}}
    text = metrics(latched=1).replace("walk", "WALK")
    url = web.prometheus(text, [found])
    answer = web.answers["/api/v1/query"]
    quoted = json.dumps(evil)[1:-1].encode()
    web.answers["/api/v1/query"] = lambda given: answer(given).replace(b"WALK", quoted)
    page = tmp_path / "fleet.html"
    assert main(["fleet", "status", "--prometheus", url, "--html", str(page)]) == 1
    out, html = capsys.readouterr().out, page.read_text("utf-8")
    assert "\\x1b[2J\\ud800<script>" in out
    assert "\x1b" not in out
    assert "<script>" not in html
    assert max(map(len, out.splitlines())) < 3000


@pytest.mark.fuzz
@drawn(text=changed_bytes(metrics().encode(), TRIAL.format(version="1", open=1, failed=0).encode()))
def test_changed_metrics_are_judged_or_called_unknown(text: bytes) -> None:
    with bounded(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet, "_fetch", lambda url, most: text)
        (state,) = judge_fleet(read_robots({"a": "http://127.0.0.1/"}))
        fleet_status.fleet_report([state])


def test_alerts_judge_where_there_is_prometheus(web: Web) -> None:
    both = metrics("a", latched=0) + metrics("b", level=1)
    reading = read_prometheus(web.prometheus(both, [alert()]))
    a, b = judge_fleet(reading)
    (reason,) = a.reasons
    assert a.health == "bad"
    assert reason.endswith(alert()["annotations"]["summary"])
    assert a.since_s == pytest.approx(1795341600.0)
    assert (b.health, b.reasons) == ("healthy", ())


def test_alert_that_is_pending_is_no_verdict_and_one_that_informs_is_none_at_all(web: Web) -> None:
    for given, health in ((alert("pending"), "unknown"), (alert(severity="info"), "healthy")):
        (state,) = judge_fleet(read_prometheus(web.prometheus(metrics(), [given])))
        assert state.health == health


@pytest.mark.parametrize(("alerts", "health"), [(None, "ok"), ([], "unknown"), ([], "err")])
def test_without_rules_that_work_nobody_is_healthy(
    web: Web, alerts: list[dict[str, Any]] | None, health: str
) -> None:
    (state,) = judge_fleet(read_prometheus(web.prometheus(metrics(), alerts, health=health)))
    assert state.health == "unknown"


def test_robot_that_reported_before_and_is_silent_is_unknown(web: Web) -> None:
    url = web.prometheus(metrics("a"), [], seen=metrics("a") + metrics("b"))
    states = judge_fleet(read_prometheus(url, ["c"]))
    assert [(one.robot, one.health) for one in states] == [
        ("a", "healthy"),
        ("b", "unknown"),
        ("c", "unknown"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b'{"status": "success"}',
        b'{"status": "error", "error": "x"}',
        *(
            b'{"status": "success", "data": {"result": [%s]}}' % entry
            for entry in (
                b"3",
                b'{"metric": [], "value": [0, "1"]}',
                b'{"metric": {"robot": "a"}, "value": [0]}',
                b'{"metric": {"robot": "a"}, "value": [0, "x"]}',
                b'{"metric": {"robot": "a"}, "value": [0, 1%s]}' % (b"0" * 400),
            )
        ),
    ],
)
def test_server_that_is_no_prometheus_is_an_error(web: Web, answer: bytes) -> None:
    web.answers["/api/v1/query"] = lambda _: answer
    with pytest.raises(NoAnswerError, match=web.url):
        read_prometheus(web.url)


def test_other_version_or_too_little_time_in_run_is_no_proof(web: Web) -> None:
    reading = read_robots({"a": web.robot("/a", metrics())})
    for wanted, health in (
        ({"policy": "walk@1.3.0", "run_s": 30.0}, "healthy"),
        ({"policy": "walk@1.4.0"}, "unknown"),
        ({"run_s": 31.0}, "unknown"),
    ):
        (state,) = judge_fleet(reading, **wanted)
        assert state.health == health


@pytest.fixture
def inventory(web: Web, tmp_path: Path) -> Path:
    """Robots a and b, of which b has a fault, in two waves."""
    file = tmp_path / "robots.yml"
    a, b = web.robot("/a", metrics("a")), web.robot("/b", metrics("b", latched=1))
    file.write_text(
        "all:\n  children:\n"
        f"    wave_1: {{hosts: {{a: {{metrics_url: '{a}'}}}}}}\n"
        f"    wave_2: {{hosts: {{b: {{metrics_url: '{b}'}}}}}}\n",
        "utf-8",
    )
    return file


def test_inventory_is_read_by_group(inventory: Path) -> None:
    assert [*read_inventory(inventory)] == ["a", "b"]
    assert [*read_inventory(inventory, "wave_2")] == ["b"]
    assert [*read_inventory(inventory, "a")] == ["a"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "all: 3", "all: {hosts: {}}", "all: {children: [a]}"],
    ids=["nothing", "list", "number", "no hosts", "children in a list"],
)
def test_inventory_without_hosts_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "robots.yml"
    file.write_text(text, "utf-8")
    with refusal(PolicyError):
        read_inventory(file)


def test_one_robot_under_two_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "robots.yml"
    url = "http://127.0.0.1:9464/metrics"
    file.write_text(f"all: {{hosts: {{a: {{metrics_url: '{url}'}}, b: {{metrics_url: '{url}'}}}}}}")
    with refusal(PolicyError):
        read_inventory(file)


def test_exit_status_says_healthy_bad_or_not_enough_data(inventory: Path) -> None:
    command = ["fleet", "status", "--inventory", str(inventory)]
    assert main([*command, "--limit", "wave_1"]) == 0
    assert main([*command, "--limit", "wave_2"]) == 1
    assert main([*command, "--limit", "wave_1", "--run-s", "60", "--wait-s", "0.1"]) == 4
    assert main(["fleet", "status", "--prometheus", "http://127.0.0.1:9"]) == 4
    assert main(["fleet", "status"]) == 4


def test_fleet_is_shown_as_table_json_and_page(
    inventory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "fleet.html"
    command = ["fleet", "status", "--inventory", str(inventory), "--html", str(page)]
    assert main(command) == 1
    a, b = (line.split() for line in capsys.readouterr().out.splitlines() if "walk@" in line)
    assert a[1:8:2] == ["a", "walk@1.3.0", "production", "healthy"]
    assert b[1:8:2] == ["b", "walk@1.3.0", "production", "bad"]
    assert page.read_text("utf-8").count("<tr>") == 3
    main([*command, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["health"], [robot["robot"] for robot in found["robots"]]) == ("bad", ["a", "b"])
