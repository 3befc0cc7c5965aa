# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A file of sensor faults to inject while a policy runs, and the node's required response."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from policy_core.bundle.schema import Reader, entry, load_yaml
from policy_core.errors import BundleError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScenario:
    """Faults that begin together, and the expected outcome."""

    faults: tuple[str, ...] = entry(
        "faults in the syntax of robot_sim.faults, without a start time", minItems=1
    )
    expected: Literal["rest", "goes_on"] = entry(
        "whether the policy node must bring the robot to rest or continue"
    )
    within_s: float = entry("maximum time until rest, s", default=0.25, exclusiveMinimum=0)

    @property
    def name(self) -> str:
        return ", ".join(self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScenarios:
    """Content of a scenario file."""

    scenarios: tuple[FaultScenario, ...] = entry(
        "scenarios in the order in which they run", minItems=1
    )


def read_scenarios(file: Path) -> tuple[FaultScenario, ...]:
    """Read a file of scenarios.

    Raises:
        BundleError: The file is missing or invalid.
    """
    reader = Reader(str(file))
    read: FaultScenarios | None = reader.section(FaultScenarios, load_yaml(file))
    reader.require_none()
    assert read is not None
    for fault in chain.from_iterable(scenario.faults for scenario in read.scenarios):
        if "@" in fault:
            raise BundleError(Problem(file=str(file), expected="no start time (@)", found=fault))
    return read.scenarios
