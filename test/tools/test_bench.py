# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's command: its parts, its smoke run, and what it says of parts without figures."""

from __future__ import annotations

import ast
import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from bench import __main__, baselines, estimator, preprocessing
from bench.effort import FULL, SMOKE, Effort
from bench.figures import Figure, Summary, table
from bench.parts import PARTS, BenchResults, Measure, measure_parts
from bench.processes import BaselineName, BenchError, UnsupportedError, running
from testkit.waiting import until

BENCH = Path(__main__.__file__).parent
ONE = Figure(
    name="one_us", unit="us", ours=[Summary(value=1.0)], baseline=[Summary(value=2.0)], wanted=None
)


def one_figure(_: Effort) -> list[Figure]:
    return [ONE]


def nothing(_: Effort) -> list[Figure]:
    return []


def failing(_: Effort) -> list[Figure]:
    raise BenchError("the node ended\nits whole output")


def broken(_: Effort) -> list[Figure]:
    raise KeyError("join")


def unsupported(_: Effort) -> list[Figure]:
    raise UnsupportedError("no real-time priority")


def test_without_arguments_all_parts_are_measured_in_full() -> None:
    options = __main__.parse([])
    assert options.parts == []
    assert __main__.choose_effort(options) == FULL


def test_parts_and_seconds_can_be_chosen() -> None:
    options = __main__.parse(["tick", "jitter", "--smoke", "--seconds", "3"])
    assert options.parts == ["tick", "jitter"]
    effort = __main__.choose_effort(options)
    assert (effort.is_smoke, effort.jitter_s) == (True, 3.0)


@pytest.mark.parametrize("words", [["ticks"], ["--seconds", "0"], ["--seconds", "nan"]])
def test_wrong_arguments_end_with_status_2(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.parse(words)


def test_every_part_is_a_module_that_measures_and_every_such_module_is_a_part() -> None:
    modules = {
        file.stem
        for file in BENCH.glob("*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "measure"
    }
    assert modules == PARTS.keys()
    for part in PARTS:
        measure = import_module(f"bench.{part}").measure
        assert [*inspect.signature(measure).parameters] == ["effort"], part


def test_every_baseline_that_a_part_names_exists() -> None:
    """`baseline` takes only a `BaselineName`, which mypy checks."""
    assert {*get_args(BaselineName)} == {*baselines.NODES, *baselines.PROGRAMS}


def test_a_smoke_run_repeats_each_measurement_at_least_once() -> None:
    assert [SMOKE.count(full) for full in (1, 10, 50, 600)] == [1, 1, 2, 30]
    assert FULL.count(10) == 10


@pytest.mark.parametrize(
    ("measures", "status", "skipped", "failed"),
    [
        ({"one": one_figure}, 0, [], []),
        ({"one": one_figure, "no": unsupported}, 0, ["no"], []),
        ({"no": unsupported}, 1, ["no"], []),
        ({"one": one_figure, "bad": failing}, 1, [], ["bad"]),
        ({"bad": broken, "one": one_figure}, 1, [], ["bad"]),
        ({"one": one_figure, "empty": nothing}, 1, [], ["empty"]),
        ({}, 1, [], []),
    ],
    ids=["measured", "skipped", "all skipped", "failed", "broken", "empty part", "no parts"],
)
def test_a_part_without_figures_is_an_error_unless_the_machine_lacks_something(
    measures: dict[str, Measure], status: int, skipped: list[str], failed: list[str]
) -> None:
    results = measure_parts(measures, SMOKE)
    assert results.exit_status == status
    assert ([*results.skipped], [*results.failed]) == (skipped, failed)
    assert results.figures == [ONE] * ("one" in measures)
    problems = "\n".join(results.problems())
    assert all(part in problems for part in (*skipped, *failed))
    assert bool(problems) == bool(skipped or failed or status)


def give_up_after_output() -> None:
    with running(["sh", "-c", "echo output; exec sleep 60"]) as child:
        until(lambda: "output" in child.output())
        raise UnsupportedError("no priority")


def test_a_reason_with_the_output_of_a_program_keeps_its_kind() -> None:
    with pytest.raises(UnsupportedError, match=r"^no priority\noutput$"):
        give_up_after_output()


def test_the_last_lines_give_only_the_first_line_of_a_reason() -> None:
    results = measure_parts({"bad": failing, "one": one_figure}, SMOKE)
    assert results.failed["bad"] == "the node ended\nits whole output"
    assert len(results.problems()[0].splitlines()) == 1


def test_a_smoke_run_is_marked_as_such_in_table_and_file(tmp_path: Path) -> None:
    measures = {"estimator": estimator.measure, "preprocessing": preprocessing.measure}
    results = measure_parts(measures, SMOKE)
    assert results.exit_status == 0, results.failed
    names = ["estimator_us", "estimator_flat_feet_us", "preprocessing_ratio"]
    assert [figure.name for figure in results.figures] == names
    assert table(results.figures, is_smoke=True).startswith("SMOKE RUN")
    assert "SMOKE" not in table(results.figures)
    file = tmp_path / "bench" / "smoke.json"
    results.write(file, {"cpu": "some"}, SMOKE)
    document = json.loads(file.read_text("utf-8"))
    assert document["is_smoke"] is True
    assert {*names} <= document.keys()
    assert document["durations_s"].keys() == measures.keys()


def test_results_in_full_are_no_smoke(tmp_path: Path) -> None:
    BenchResults(figures=[ONE]).write(tmp_path / "summary.json", {}, FULL)
    document = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert document["is_smoke"] is False
    assert document["one_us"]["value"] == 1.0
