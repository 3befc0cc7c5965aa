# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A wrong contract is refused with every problem, at its key.

`test_schema_agreement.py` tries each key of each section; here are the forms of the messages.
"""

from collections.abc import Callable

import pytest

from policy_core.bundle.body import AnyContract
from testkit.edits import MISSING, Edits
from testkit.wording import check_wording

from .editing import edits_name, problem_key, refused_problems

ParseEdited = Callable[[str, Edits], AnyContract]
NAN, INF = float("nan"), float("inf")
GRAPH = "graphs.BPU_ACTPolicy_TransformerLayers"

FORMS: list[tuple[str, Edits]] = [
    *(("joint", {"rate_hz": value}) for value in ("50", True, 0, 1001, NAN)),
    *(("joint", {"schema_version": value}) for value in ("1", 2)),
    *(("joint", {"name": value}) for value in (7, "", "two_joints\n", MISSING)),
    ("joint", {"kind": "chunks"}),
    ("joint", {"version": 1.0}),
    ("joint", {"frequency": 50}),
    *(("joint", {"joints": value}) for value in (["left_knee"], None, MISSING)),
    ("joint", {"joints.names": []}),
    ("joint", {"joints.names.0": "left knee"}),
    *(("joint", {"joints.stiffness": value}) for value in ("stiff", {1: 30.0}, [30, -1])),
    ("joint", {"joints.stiffness": {"left_knee": -1, "right_knee": 1}}),
    ("joint", {"observations": []}),
    ("joint", {"observations": {}}),
    ("joint", {"observations.obs.terms.0.clip": [1.0]}),
    ("joint", {"observations.obs.terms.0.clip": [0.0, INF]}),
    ("joint", {"observations.obs.terms.0.surprise": 1}),
    ("joint", {"observations.obs.terms.5.size": 2.0}),
    ("joint", {"action.terms.0.offset": "default"}),
    ("joint", {"model.golden.sha256": MISSING}),
    ("chunk", {"kind": ["chunk"]}),
    ("chunk", {"kind": "act"}),
    *(("chunk", {key: {}}) for key in ("model", "observations", "velocity_command")),
    ("chunk", {"cameras.phone.timeout_s": 61}),
    ("chunk", {"cameras.phone.camera_frozen_s": 1e300}),
    ("chunk", {"environment_state.topic": "/goal"}),
    ("chunk", {"action.max_relative_target": {"gripper": -1}}),
    ("chunk", {"chunk": MISSING}),
    ("chunk", {f"{GRAPH}.inputs": {}}),
]


@pytest.mark.parametrize(("kind", "edits"), FORMS, ids=edits_name)
def test_a_wrong_value_is_one_problem_at_its_key(
    parse_edited: ParseEdited, kind: str, edits: Edits
) -> None:
    (problem,) = refused_problems(lambda: parse_edited(kind, edits))
    assert problem.key.startswith(problem_key(*edits))
    check_wording(problem)


@pytest.mark.parametrize(
    ("kind", "edits"),
    [
        ("joint", {"rate_hz": 0, "joints.stiffness": -1, "stand.pose": 1.0, "safety.margin": 0}),
        (
            "chunk",
            {
                "rate_hz": 0,
                "units.gripper.unit": "mm",
                "cameras.phone.height": 0,
                "chunk.steps": 0,
                "golden.sha256": "0",
            },
        ),
    ],
    ids=["joint", "chunk"],
)
def test_all_wrong_values_are_reported_at_once_in_file_order(
    parse_edited: ParseEdited, kind: str, edits: Edits
) -> None:
    problems = refused_problems(lambda: parse_edited(kind, edits))
    assert [problem.key for problem in problems] == [*edits]


def test_chunk_policy_that_says_it_is_a_joint_policy_is_refused(parse_edited: ParseEdited) -> None:
    problems = refused_problems(lambda: parse_edited("chunk", {"kind": "joint"}))
    assert {"chunk", "model"} <= {problem.key for problem in problems}


CHUNK_OPTIONS = (
    *("golden", "nominal", "chunk.ensemble_coeff", "action.grippers"),
    *("units.elbow_flex.sign", "units.elbow_flex.zero_rad"),
)
JOINT_OPTIONS = ("velocity_command", "nominal", "model.golden", "safety.max_tilt_rad")


@pytest.mark.parametrize(("kind", "options"), [("joint", JOINT_OPTIONS), ("chunk", CHUNK_OPTIONS)])
def test_contract_is_accepted_with_and_without_its_options(
    parse_edited: ParseEdited, kind: str, options: tuple[str, ...]
) -> None:
    assert parse_edited(kind, {}).nominal is not None
    contract = parse_edited(kind, dict.fromkeys(options, MISSING))
    assert (contract.kind, contract.nominal) == (kind, None)
