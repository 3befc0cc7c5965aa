# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An evaluation keeps what it has, goes on, stops once it is certain, and counts the same."""

from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.evaluation.evaluate import evaluated_policies, trial_store
from model_tools.prove.evaluation.plan import FactorRange, Factors, Success
from model_tools.prove.evaluation.statistics import bootstrap_mean, mcnemar, pairs_needed, wilson
from model_tools.prove.evaluation.summary import holds, summarise
from model_tools.prove.evaluation.trials import TrialTask
from policy_core.bundle.load import load_bundle
from testkit.wording import refusal

from .evaluations import OrderedPool, evaluated, lines, plan

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"
TWO = ("first", "second")


def good(task: TrialTask) -> bool:
    """Let one in ten fail, of the second policy one in two."""
    return task.seed % (2 if task.policy.label == "second" else 10) != 0


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_the_summary_is_the_same_in_whatever_order_trials_end(tmp_path: Path, ahead: int) -> None:
    planned = plan(
        seeds=40,
        factors=Factors(friction=(0.5, 1.0), latency_ms=FactorRange(min=0.0, max=20.0)),
        success=Success(tilt_deg=43.0),
    )
    found = summarise(evaluated(tmp_path / "some", planned, OrderedPool(good, ahead=ahead), TWO))
    expected = summarise(evaluated(tmp_path / "one", planned, OrderedPool(good), TWO))
    assert found == expected
    assert (found["trials"], found["successes"]) == (80, 70)
    (difference,) = found["differences"]
    assert difference["only_policy_succeeded"] == 32
    assert difference["only_against_succeeded"] == 0
    assert difference["p_mcnemar"] < 1e-6
    friction = found["policies"][0]["by_factor"]["friction"]
    assert friction["0.5"]["trials"] == friction["1"]["trials"] == 40
    parts = found["policies"][0]["by_factor"]["latency_ms"]
    assert sum(part["trials"] for part in parts.values()) == 80


def test_results_are_kept_and_only_missing_trials_run_again(tmp_path: Path) -> None:
    evaluated(tmp_path, plan(seeds=3), OrderedPool(good))
    again = OrderedPool(good)
    found = evaluated(tmp_path, plan(seeds=5), again)
    assert sorted(task.seed for task in again.done) == [4, 5]
    assert len(found.rows) == 5
    other = OrderedPool(good)
    evaluated(tmp_path, plan(seeds=5, duration_s=10.0), other)
    assert len(other.done) == 5


def test_a_line_that_was_not_written_to_its_end_is_tried_again(tmp_path: Path) -> None:
    evaluated(tmp_path, plan(seeds=3), OrderedPool(good))
    file = tmp_path / "trials.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    again = OrderedPool(good)
    evaluated(tmp_path, plan(seeds=3), again)
    assert [task.seed for task in again.done] == [3]
    assert len(list(lines(tmp_path))) == 3


def test_two_evaluations_do_not_share_a_folder_and_what_is_no_result_is_refused(
    tmp_path: Path,
) -> None:
    with trial_store(tmp_path), refusal(ToolError), trial_store(tmp_path):
        pass
    (tmp_path / "trials.jsonl").write_text('{"key": "a"}\n', "utf-8")
    with refusal(ToolError), trial_store(tmp_path):
        pass


def test_a_trial_without_a_result_fails_the_evaluation_and_is_tried_again(tmp_path: Path) -> None:
    planned = plan(first_seed=999, seeds=2)
    found = evaluated(tmp_path, planned, OrderedPool(good))
    assert not holds(found)
    assert summarise(found)["not_done"] == 1
    assert list(found.not_done.values()) == ["no reason"]
    assert len(list(lines(tmp_path))) == 1


def test_the_required_rate_is_held_against_the_lower_end_of_the_interval(tmp_path: Path) -> None:
    many = evaluated(tmp_path / "a", plan(seeds=73, required_success=0.94), OrderedPool(always))
    few = evaluated(tmp_path / "b", plan(seeds=20, required_success=0.94), OrderedPool(always))
    assert holds(many)
    assert not holds(few)


def always(task: TrialTask) -> bool:
    return True


def test_a_policy_of_another_robot_or_the_same_one_twice_is_refused() -> None:
    lite3, arm = load_bundle(BUNDLES / "lite3_walk"), load_bundle(BUNDLES / "so101_reach")
    (found,) = evaluated_policies(plan(), [lite3], {})
    assert found.label.startswith("lite3_walk")
    for planned, bundles in (
        (plan(), [arm]),
        (plan(robot="so101"), [lite3]),
        (plan(robot="go2"), [lite3]),
        (plan(), [lite3, lite3]),
    ):
        with refusal(ToolError):
            evaluated_policies(planned, bundles, {})


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(73, 73, 0.950, 1.0), (0, 20, 0.0, 0.161), (50, 100, 0.404, 0.596), (0, 0, 0.0, 1.0)],
)
def test_wilsons_interval_has_known_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(6, 0, 0.03125), (0, 5, 0.0625), (3, 3, 1.0), (0, 0, 1.0)]
)
def test_mcnemars_exact_test_has_known_values(better: int, worse: int, p: float) -> None:
    assert mcnemar(better, worse) == pytest.approx(p)


def test_bootstrapped_interval_is_that_of_a_mean_and_the_same_each_time() -> None:
    values = np.random.default_rng(1).normal(3.0, 1.0, 400).tolist()
    mean, low, high = bootstrap_mean(values)
    assert bootstrap_mean(values) == (mean, low, high)
    assert (low, high) == pytest.approx((mean - 1.96 / 20, mean + 1.96 / 20), abs=0.015)
    assert np.isnan(bootstrap_mean([])).all()
    assert bootstrap_mean([2.0]) == (2.0, 2.0, 2.0)


def test_the_needed_pairs_show_the_difference_with_the_stated_power() -> None:
    count = pairs_needed(30, 10, 400)
    assert count is not None
    draws = np.random.default_rng(2).multinomial(count, [0.075, 0.025, 0.9], 1000)
    shown = np.mean([mcnemar(int(better), int(worse)) < 0.05 for better, worse, _ in draws])
    assert 0.7 < shown < 0.9
    assert pairs_needed(5, 5, 100) is None
    assert pairs_needed(0, 0, 0) is None
