# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from policy_core.interfaces import F64, JointTargets, Kind
from policy_core.members.joint import ActionDecoder
from testkit.kernel.contracts import contract_of

OUTPUT = (1.0, -2.0, 4.0)
LARGEST = float(np.finfo(np.float32).max)


def decoder_of(
    terms: Sequence[dict[str, Any]], output: Sequence[float] = OUTPUT, dtype: str = "float32"
) -> ActionDecoder:
    contract = contract_of({"action.terms": list(terms)})
    decoder = ActionDecoder(contract, np.array([output], dtype))
    assert decoder.read()
    return decoder


def decoded_targets(terms: Sequence[dict[str, Any]], output: Sequence[float] = OUTPUT) -> F64:
    return decoder_of(terms, output).decode()


def filled_targets(
    terms: Sequence[dict[str, Any]], output: Sequence[float] = OUTPUT
) -> JointTargets:
    decoder, targets = decoder_of(terms, output), JointTargets(3)
    targets.effort_limit[:] = 7.0
    decoder.decode()
    decoder.fill(targets)
    return targets


def term(*joints: str, kind: str = "position", **options: object) -> dict[str, Any]:
    return {"joints": list(joints), "kind": kind, **options}


@pytest.mark.parametrize(
    ("joints", "scale", "expected"),
    [
        (["hip", "knee", "ankle"], 0.5, [0.5, -1.0, 2.0]),
        ([".*"], 0.5, [0.5, -1.0, 2.0]),
        (["hip", ".*[ek].*"], {".*": 0.5}, [0.5, -1.0, 2.0]),
        (["ankle", "hip", "knee"], {"ankle": 10.0, ".*(ip|nee)": 1.0}, [-2.0, 4.0, 10.0]),
    ],
)
def test_names_state_an_order_and_patterns_have_that_of_the_contract(
    joints: list[str], scale: object, expected: list[float]
) -> None:
    np.testing.assert_allclose(decoded_targets([term(*joints, scale=scale)]), expected)


def test_offset_may_be_the_default_position_of_the_joints() -> None:
    terms = [term("ankle", "hip", "knee", offset="default_position")]
    np.testing.assert_allclose(decoded_targets(terms), [0.0 - 2.0, 0.5 + 4.0, -0.5 + 1.0])


def test_several_terms_use_up_the_output_one_after_the_other() -> None:
    terms = [term("ankle", scale=2.0), term("hip", "knee", kind="velocity", scale=3.0)]
    np.testing.assert_allclose(decoded_targets(terms), [-6.0, 12.0, 2.0])


def test_clip_acts_on_the_raw_output_of_its_term_only() -> None:
    terms = [term("hip", clip=[-0.5, 0.5], scale=2.0, offset=1.0), term("knee", "ankle")]
    decoder = decoder_of(terms)
    np.testing.assert_allclose(decoder.decode(), [2.0, -2.0, 4.0])
    assert decoder.clipped
    assert decoder.raw.tolist() == list(OUTPUT)
    inside = decoder_of([term("hip", "knee", "ankle", clip=[-5.0, 5.0])])
    inside.decode()
    assert not inside.clipped


def test_each_kind_fills_its_own_row_with_gains_that_fit() -> None:
    terms = [term("hip"), term("knee", kind="velocity"), term("ankle", kind="effort")]
    targets, decoder = filled_targets(terms), decoder_of(terms)
    np.testing.assert_allclose(targets.position, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(targets.velocity, [0.0, -2.0, 0.0])
    np.testing.assert_allclose(targets.effort, [0.0, 0.0, 4.0])
    np.testing.assert_allclose(targets.stiffness, [30.0, 0.0, 0.0])
    np.testing.assert_allclose(targets.damping, [1.0, 1.0, 0.0])
    assert targets.effort_limit.tolist() == [7.0] * 3
    assert decoder.kinds == (Kind.POSITION, Kind.VELOCITY, Kind.EFFORT)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int32"])
def test_outputs_of_every_element_type_are_read(dtype: str) -> None:
    decoder = decoder_of([term("hip", "knee", "ankle")], dtype=dtype)
    assert decoder.decode().tolist() == list(OUTPUT)


@pytest.mark.parametrize(
    ("value", "finite"), [(math.nan, False), (math.inf, False), (LARGEST, True), (-LARGEST, True)]
)
def test_an_output_that_is_not_finite_is_reported(value: float, finite: bool) -> None:
    output = np.full((1, 3), [0.0, value, value], np.float32)
    assert ActionDecoder(contract_of(), output).read() == finite


def test_gains_that_the_model_puts_out_are_not_steady() -> None:
    gains = {"stiffness": {"output": "kp", "min": 1.0, "max": 90.0}}
    terms = [term("knee"), term("ankle", kind="velocity"), term("hip", kind="effort")]
    edits = {"action.terms": terms, "action.gains": gains, "model.outputs.kp": {"shape": [1, 3]}}
    contract = contract_of(edits)
    outputs = {"actions": np.zeros((1, 3)), "kp": np.array([[50.0, 60.0, 70.0]])}
    decoder = ActionDecoder(contract, outputs["actions"], outputs)
    assert decoder.read()
    decoder.decode()
    assert decoder.gains.tolist() == [[0.0, 50.0, 0.0], [0.0, 1.0, 1.0]]
    assert np.isnan(decoder.steady_gains).tolist() == [[False, True, False], [False] * 3]
