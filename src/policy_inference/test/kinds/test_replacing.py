# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which bundles a policy in use may be replaced by."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from policy_core.bundle.load import load_bundle
from policy_core.control.replacing import require_replaceable
from policy_core.errors import BundleError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_inference.kinds.kinds import find_kind
from testkit.wording import refusal

from ..nodes.bundles import CONTRACT
from ..nodes.kinds import CHUNK, JOINT, Kind

pytestmark = pytest.mark.ros
SCAN = {"term": "external", "topic": "scan", "size": 2}
UNFIT: Mapping[str, tuple[Kind, Mapping[str, object]]] = {
    "rate": (JOINT, {"rate_hz": 100}),
    "inputs": (
        JOINT,
        {
            "observations.obs.terms": [*CONTRACT["observations"]["obs"]["terms"], SCAN],
            "model.inputs": {"obs": {"shape": [1, 17]}},
        },
    ),
    "on_fault": (JOINT, {"safety.on_fault": "torque_off"}),
    "joints": (JOINT, {"joints.robot_names": {"left": "other"}}),
    "rate of chunks": (CHUNK, {"rate_hz": 25}),
}


@pytest.mark.parametrize(("kind", "changes"), UNFIT.values(), ids=UNFIT)
def test_contract_that_does_not_fit_is_refused(
    tmp_path: Path, kind: Kind, changes: Mapping[str, object]
) -> None:
    running, same, other = (
        load_bundle(kind.write(tmp_path / version, version, given))
        for version, given in (("1.0.0", {}), ("2.0.0", {}), ("3.0.0", changes))
    )

    def inputs(bundle: object) -> list[str]:
        limits = limits_in_force(bundle.contract, StricterLimits())  # type: ignore[attr-defined]
        return [*find_kind(bundle).inputs(bundle, limits)]  # type: ignore[arg-type]

    require_replaceable(running.contract, inputs(running), same, inputs(same))
    with refusal(BundleError):
        require_replaceable(running.contract, inputs(running), other, inputs(other))
