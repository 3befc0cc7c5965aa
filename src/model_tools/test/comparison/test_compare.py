# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools compare`: what it compares, refuses, shows and returns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from model_tools.comparison.artifacts import candidates
from model_tools.comparison.compare import Compared, compare
from model_tools.errors import ToolError
from policy_inference.bundle.load import load_bundle

from ..small_bag import every, joint_states, write_bag
from ..tiny_bundle import forward, make_bundle, observations, weights

OURS = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_walk"
Shift = Callable[[dict[str, Any]], object]


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "reference")


def shift_knee(arrays: dict[str, Any]) -> None:
    arrays["b1"][1] += 0.5


def nan_knee(arrays: dict[str, Any]) -> None:
    arrays["b1"][1] = np.nan


def compared(*folders: Path, rows: tuple[Path, ...] = ()) -> list[Compared]:
    return compare(candidates(folders, ["onnx"]), rows, walk_s=None)


def test_identical_models_compare_equal(reference: Path, tmp_path: Path) -> None:
    first, second = compared(reference, make_bundle(tmp_path / "same"))

    assert first
    assert second
    assert second.on_rows[0].action.max_abs == first.on_rows[0].action.max_abs < 1e-6


def test_a_perturbed_model_fails_and_the_joint_is_named(reference: Path, tmp_path: Path) -> None:
    first, second = compared(reference, make_bundle(tmp_path / "shifted", edit=shift_knee))

    assert first
    assert not second
    (failed,) = [check for check in second.checks if not check]
    assert failed.what == "mean absolute error"
    assert failed.value == pytest.approx(0.25)
    assert re.search(r"golden rows: worst in knee, row \d+; most in knee", failed.where)


def test_rows_without_outputs_are_judged_by_what_the_reference_says(
    reference: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", observations(30, seed=5))
    other = make_bundle(tmp_path / "shifted", edit=shift_knee)

    first, second = compared(reference, other, rows=(tmp_path / "rows.npy",))

    assert first
    assert second.on_rows[1].count == 30
    assert second.on_rows[1].action.mae_each == pytest.approx([0.0, 0.5], abs=1e-6)


@pytest.mark.parametrize("name", ["action", "actions"])
def test_a_rollout_that_was_recorded_judges_the_reference_too(
    reference: Path, tmp_path: Path, name: str
) -> None:
    obs = observations(30, seed=5)
    np.savez(tmp_path / "rollout.npz", allow_pickle=False,
             **{"obs": obs, name: forward(obs, weights()) + 1.0})  # fmt: skip

    first, _ = compared(reference, reference, rows=(tmp_path / "rollout.npz",))

    assert not first
    assert first.on_rows[1].action.mae == pytest.approx(1.0, rel=1e-4)


def test_states_are_carried_over_rows_that_lack_them_and_taken_where_they_are_recorded(
    tmp_path: Path,
) -> None:
    folder = make_bundle(tmp_path / "recurrent", recurrent=True)
    np.savez(tmp_path / "rollout.npz", obs=observations(5))

    first, _ = compared(folder, folder, rows=(tmp_path / "rollout.npz",))

    golden, rollout = first.on_rows
    assert golden.action.max_abs < 1e-6
    stateless = forward(observations(5), weights())
    np.testing.assert_allclose(rollout.action.found[0], stateless[0], atol=1e-6)
    np.testing.assert_allclose(rollout.action.found[1], stateless[1] + stateless[0] / 2, atol=1e-6)


def test_a_recording_is_replayed_and_both_are_compared_on_what_the_policy_saw(
    reference: Path, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 1200), "/robot/joints"))
    other = make_bundle(tmp_path / "shifted", edit=shift_knee)
    args = ["compare", str(reference), str(other), "--rows", str(bag), "--output",
            str(tmp_path / "report"), "--topic", "joint_states=/robot/joints"]  # fmt: skip

    assert cli.main(args) == 1

    first, second = json.loads((tmp_path / "report" / "comparison.json").read_text())["artifacts"]
    assert first["holds"]
    assert second["open_loop"][1]["outputs"]["actions"]["each"]["knee"]["mae"] == pytest.approx(0.5)
    assert second["open_loop"][1]["outputs"]["actions"]["each"]["hip"]["mae"] < 1e-6


@pytest.mark.parametrize("given", ["joint_states", "=/topic", "joint_states="])
def test_a_topic_needs_an_input_and_a_name(
    reference: Path, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", str(reference), "--topic", given])

    assert f"expected NAME=VALUE, found {given!r}" in capsys.readouterr().err


def test_every_output_is_measured_and_only_the_action_judged(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "recurrent", recurrent=True)

    first, _ = compared(folder, folder)

    assert [found.output for found in first.on_rows[0].differences] == ["actions", "h_out"]
    assert first.on_rows[0].differences[1].names == ("h_out[0]", "h_out[1]")
    assert len(first.checks) == 1


def test_a_single_artifact_is_refused(reference: Path) -> None:
    with pytest.raises(ToolError, match="two or more artifacts to compare, found one"):
        candidates([reference], ["onnx"])


@pytest.mark.parametrize(("word", "other", "message"), [
    ("joints: [hip, knee]", "joints: [knee, hip]", "joints as in .*found knee, hip"),
    ("obs: {shape: [1, 6]}", "obs: {shape: [1, 6], dtype: float16}", r"model\.inputs as in"),
])  # fmt: skip
def test_another_function_is_refused(
    reference: Path, tmp_path: Path, word: str, other: str, message: str
) -> None:
    file = make_bundle(tmp_path / "other") / "policy.yaml"
    file.write_text(file.read_text().replace(word, other))

    with pytest.raises(ToolError, match=message):
        candidates([reference, file.parent], ["onnx"])


def test_nothing_to_compare_on_is_refused(reference: Path) -> None:
    file = reference / "policy.yaml"
    file.write_text(re.sub(r"  golden: .*\n", "", file.read_text()))

    with pytest.raises(ToolError, match="something to compare on, found no golden rows"):
        compared(reference, reference)


@pytest.mark.parametrize(("edit", "status"), [(len, 0), (shift_knee, 1), (nan_knee, 1)])
def test_the_exit_status_says_whether_all_limits_hold(
    reference: Path, tmp_path: Path, edit: Shift, status: int
) -> None:
    other = make_bundle(tmp_path / "other", edit=edit)

    assert cli.main(["compare", str(reference), str(other)]) == status


def report_of(reference: Path, tmp_path: Path, edit: Shift) -> Path:
    other, output = make_bundle(tmp_path / "other", edit=edit), tmp_path / "report"
    cli.main(["compare", str(reference), str(other), "--output", str(output)])
    return output


def test_figures_that_are_not_numbers_are_null_in_the_json(reference: Path, tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (report_of(reference, tmp_path, nan_knee) / "comparison.json").read_text("utf-8")
    first, second = json.loads(text, parse_constant=refuse)["artifacts"]

    assert first["holds"]
    assert not second["holds"]
    actions = second["open_loop"][0]["outputs"]["actions"]
    assert actions["mae"] is None
    assert actions["worst"] == {"row": 0, "name": "knee"}
    assert actions["each"]["hip"]["mae"] < 1e-6


def test_the_page_needs_nothing_from_elsewhere(reference: Path, tmp_path: Path) -> None:
    page = (report_of(reference, tmp_path, shift_knee) / "comparison.html").read_text("utf-8")

    assert not re.search(r"https?:|<script|<link|@import|url\((?!#)|src=", page)
    assert page.count("<svg") == page.count("</svg>") >= 3


class Ids(HTMLParser):
    """Collects what drawings call their parts, and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.used: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif name in ("xlink:href", "clip-path"):
                self.used.add((value or "").removeprefix("url(").strip("#)"))


def test_drawings_find_their_parts_in_the_page(reference: Path, tmp_path: Path) -> None:
    parser = Ids()
    parser.feed((report_of(reference, tmp_path, shift_knee) / "comparison.html").read_text("utf-8"))

    assert parser.used
    assert parser.used <= parser.ids


def test_the_page_says_which_artifact_fails_and_in_which_joint(
    reference: Path, tmp_path: Path
) -> None:
    page = (report_of(reference, tmp_path, shift_knee) / "comparison.html").read_text("utf-8")

    assert "1 of 2 hold their limits" in page
    assert "worst in knee" in page


def test_walks_are_in_the_report(tmp_path: Path) -> None:
    output = tmp_path / "report"

    status = cli.main(["compare", str(OURS), str(OURS), "--closed-loop", "--seconds", "2.5",
                       "--output", str(output)])  # fmt: skip

    assert status == 0
    _, second = json.loads((output / "comparison.json").read_text("utf-8"))["artifacts"]
    assert [walk["survived_s"] for walk in second["closed_loop"]] == [2.5] * 4
    assert "Closed loop: 2.5 s each" in (output / "comparison.html").read_text("utf-8")


@pytest.mark.parametrize(("seconds", "message"), [
    ("2", "walks longer than the 2 s in which a robot settles, and with an end, found 2 s"),
    ("nan", "found nan s"),
    ("inf", "and with an end, found inf s"),
    ("5", "reference: expected each joint of the policy once, found missing: hip, knee"),
])  # fmt: skip
def test_walks_that_cannot_be_are_refused(
    reference: Path, caplog: pytest.LogCaptureFixture, seconds: str, message: str
) -> None:
    status = cli.main(["compare", str(reference), str(reference), "--closed-loop",
                       "--seconds", seconds])  # fmt: skip

    assert status == 1
    assert message in caplog.text


def test_a_report_that_is_there_is_not_overwritten(reference: Path, tmp_path: Path) -> None:
    report = report_of(reference, tmp_path, len) / "comparison.json"
    before = report.read_bytes()

    status = cli.main(["compare", str(reference), str(reference), "--output", str(report.parent)])

    assert status == 1
    assert report.read_bytes() == before


def test_a_recorded_report_is_kept_with_the_compared_model(reference: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other")
    arguments = ["compare", str(reference), str(other), "--record"]

    assert cli.main(arguments) == 0

    kept = load_bundle(other).contract.reports["onnx"]
    assert json.loads((other / kept.file).read_text("utf-8"))["reference"] == f"{reference} onnx"
    assert (other / kept.file).with_suffix(".html").is_file()
    assert load_bundle(reference).contract.reports == {}
    assert cli.main(arguments) == 1, "a report that is there is not replaced"
    assert cli.main([*arguments, "--force"]) == 0


def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = cli.main(["compare", str(reference), str(reference), "--output", str(reference)])

    assert status == 1
    assert capsys.readouterr().out == ""


def infinite_knee(arrays: dict[str, Any]) -> None:
    arrays["b1"][1] = np.inf


def infinite(arrays: dict[str, Any]) -> None:
    arrays["b1"][:] = np.inf


@pytest.mark.parametrize("edit", [nan_knee, infinite_knee, infinite])
@pytest.mark.parametrize("broken_first", [False, True])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_outputs_that_are_not_finite_fail_and_are_reported(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    edit: Callable[[dict[str, Any]], None], broken_first: bool,
) -> None:
    folders = [str(reference), str(make_bundle(tmp_path / "broken", edit=edit))]
    folders = folders[::-1] if broken_first else folders

    status = cli.main(["compare", *folders, "--output", str(tmp_path / "report")])

    assert status == 1
    assert re.search("broken.*mean absolute error: expected at most 1e-05, found (nan|inf)",
                     caplog.text)
    assert (tmp_path / "report" / "comparison.html").is_file()
