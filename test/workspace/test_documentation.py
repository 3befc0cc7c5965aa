# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: every page has its place, links lead somewhere, the safety case is whole."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from policy_core.guard.bounds import Rule
from policy_inference.status_fields import DRIVER, INPUT, POLICY, SET, SHADOW, TRIAL, StatusGroup
from testkit.known_codes import INVARIANT_GROUPS
from tools.docs.metrics import metrics_table

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FEATURES = {
    "DEEP Robotics Lite3": (
        "test/e2e/test_walking.py::test_our_policy_walks",
        "test/lite3/test_lockstep.py::test_a_robot_is_taken_walks_and_is_given_back",
    ),
    "Unitree Go2": (
        "test/unitree/test_wrong_senses.py::"
        "test_a_robot_whose_senses_agree_walks_on_without_a_warning",
    ),
    "Unitree G1": (
        "src/robot_sim/test/test_robots.py::test_a_robot_that_is_held_stands_on_its_feet",
        "src/unitree_driver/test/test_wire.py::"
        "test_recorded_messages_are_read_and_written_byte_for_byte",
    ),
    "Unitree H1, H1-2": (
        "src/unitree_driver/test/test_wire.py::"
        "test_strong_motors_of_the_h1_have_a_mode_of_their_own",
    ),
    "SO-100, SO-101, Koch": (
        "src/model_tools/test/prove/evaluation/test_trials.py::"
        "test_the_arm_reaches_and_is_late_where_its_policy_is",
    ),
    "a ros2_control robot": (
        "src/policy_inference/test/commands/test_controller_plan.py::"
        "test_a_plan_names_joints_fields_and_models_with_rows_that_prove_them",
    ),
    "your robot": ("src/robot_driver/test/nodes/test_conformance.py::TestConformance",),
    "`onnx`": ("src/policy_inference/test/backends/test_conformance.py::TestConformance",),
    "`rknn_sim`": (
        "test/workspace/test_another_python.py::test_a_worker_gets_as_far_as_its_runtime",
    ),
    "`oip`, `openpi`": ("src/policy_inference/test/backends/test_conformance.py::TestConformance",),
    "`rknn`, `tensorrt`, `bpu`": (
        "src/policy_inference/test/backends/test_conformance.py::TestConformance",
    ),
}
"""Tests in `make test` by the rows of the README's tables of robots and back ends."""
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
GENERATED = "reference/"
"""Pages that `make docs` writes from the code."""


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.lstrip("#").strip()).lower()
    return re.sub(r"[^\w\s-]", "", text).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    found = Counter[str]()
    names = set[str]()
    for heading in re.findall(r"^#+ .*$", text, flags=re.MULTILINE):
        name = slug(heading)
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8")))
    for target in targets:
        name, _, anchor = target.partition("#")
        if "://" in target or name.startswith(GENERATED):
            continue
        linked = page if not name else (page.parent / name).resolve()
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_each_feature_of_the_readme_has_a_test_in_make_test() -> None:
    tables = re.findall(
        r"^\| (?:robot|back end) \|.*\n\|[ -|]+\n((?:^\|.*\n)+)",
        (ROOT / "README.md").read_text("utf-8"),
        re.M,
    )
    rows = [row.split(" | ")[0].strip("| ") for table in tables for row in table.splitlines()]
    assert [row.partition(" (")[0] for row in rows] == [*FEATURES]
    for tests in FEATURES.values():
        for test in tests:
            path, _, name = test.partition("::")
            assert not read_markers(ROOT / path, name) & {"slow", "acceptance"}, test


def read_markers(path: Path, name: str) -> set[str]:
    """Return the markers of a test or class, and of its module."""
    body = ast.parse(path.read_text("utf-8")).body
    (definition,) = (
        node
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
    )
    of_module = [
        node.value
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    text = " ".join(map(ast.unparse, [*definition.decorator_list, *of_module]))
    return {*re.findall(r"mark\.(\w+)", text)}


def test_every_rule_of_the_guard_has_its_section_in_the_safety_case() -> None:
    sections = re.findall(r"^## `(\w+)`$", (DOCS / "safety_case.md").read_text("utf-8"), re.M)
    assert sections == [rule.value for rule in Rule]


def test_tests_named_in_the_safety_case_exist() -> None:
    text = (DOCS / "safety_case.md").read_text("utf-8")
    named = re.findall(r"^  - `(\S+\.py)`\\\n    `(test_\w+)`$", text, re.M)
    assert len(named) >= 2 * len(Rule) - 10
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, file


def test_the_page_has_each_invariant_in_its_group() -> None:
    text = (DOCS / "invariants.md").read_text("utf-8")
    sections = re.findall(r"^## ([^\n]+)$\n\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    found = {title: re.findall(r"^\| `.*$", content, re.M) for title, content in sections}
    assert found == {
        title: [f"| `{name}` | {what} |" for name, what in group.items()]
        for title, group in INVARIANT_GROUPS.items()
    }
    names = [name for group in INVARIANT_GROUPS.values() for name in group]
    assert len(names) == len({*names}) >= 40


def test_invariants_named_in_the_safety_case_exist() -> None:
    text = (DOCS / "safety_case.md").read_text("utf-8")
    lines = re.findall(r"^- \*\*\[Invariants\]\(invariants\.md\)\*\*: (.*)$", text, re.M)
    named = {name for line in lines for name in re.findall(r"`(\w+)`", line)}
    assert len(lines) >= 20
    assert named <= {name for group in INVARIANT_GROUPS.values() for name in group}


def test_the_lines_that_rename_the_example_leave_nothing_of_its_name(tmp_path: Path) -> None:
    page = (DOCS / "bring_your_robot.md").read_text("utf-8")
    (lines,) = (block for block in re.findall(r"```bash\n(.*?)```", page, re.S) if "MyDog" in block)
    source = tmp_path / "my_ws" / "src"
    source.mkdir(parents=True)
    subprocess.run(
        ["bash", "-ec", lines], cwd=ROOT, env=os.environ | {"HOME": str(tmp_path)}, check=True
    )
    files = [path for path in (source / "my_dog").rglob("*") if path.is_file()]
    assert source / "my_dog" / "my_dog_driver" / "my_dog_driver" / "driver.py" in files
    for path in files:
        if path.suffix != ".pyc":
            named = f"{path.relative_to(source)} {path.read_text('utf-8')}".lower()
            assert "my_robot" not in named
            assert "myrobot" not in named


DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


FIELD = re.compile(r"^[\w/]+(?:\[\])? (\w+)(?: .*)?$", re.M)


def fields_with_comments(message: str) -> dict[str, str]:
    """Return the fields of a message, each with its own comment and those of its paragraph."""
    text = (ROOT / "src" / "policy_msgs" / "msg" / f"{message}.msg").read_text("utf-8")
    return {
        name: paragraph for paragraph in text.split("\n\n") for name in FIELD.findall(paragraph)
    }


@pytest.mark.parametrize(
    "group", [DRIVER, INPUT, POLICY, SET, SHADOW, TRIAL], ids=lambda group: group.message
)
def test_fields_are_those_of_the_message_with_their_units(group: StatusGroup) -> None:
    described = fields_with_comments(group.message)
    assert [each.name for each in group.fields] == [*described]
    for each in group.fields:
        if each.unit:
            assert f"[{each.unit}]" in described[each.name], each.name


def test_texts_of_metrics_are_plain_for_prometheus() -> None:
    assert "](" not in metrics_table()


@pytest.mark.parametrize(
    "file", ["deploy/prometheus/policy_inference.rules.yml", "deploy/grafana/policy_inference.json"]
)
def test_alerts_and_dashboard_ask_for_metrics_that_exist(file: str) -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", metrics_table(), re.M))
    text = (ROOT / file).read_text("utf-8")
    asked = set(re.findall(r"(?<!name: )policy_inference_(\w+?)(?=[{\[)\s])", text))
    assert asked
    assert asked <= known


def test_state_of_a_fleet_is_read_from_metrics_that_exist() -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", metrics_table(), re.M))
    text = (ROOT / "src/model_tools/model_tools/ship/fleet.py").read_text("utf-8")
    read = {*re.findall(r'name == "(\w+)"', text), *re.findall(r'samples, "(\w+)"', text)}
    assert read >= {"up", "latched", "diagnostics_level", "mode_seconds_total"}
    assert read <= known
