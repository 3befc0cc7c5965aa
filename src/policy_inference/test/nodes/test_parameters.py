# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The table of parameters: what is refused, when, and with which words."""

import math
from collections.abc import Callable, Sequence

import pytest
from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from policy_core.errors import PolicyError
from policy_inference.nodes.chunk_settings import ACT_PARAMETERS
from policy_inference.nodes.parameters import ParameterTable, Spec
from policy_inference.nodes.settings import PARAMETERS
from testkit.wording import check_wording, refusal

from .harness import Robot, Stage, logged_in

pytestmark = pytest.mark.ros
MakeTable = Callable[..., ParameterTable]
TABLE = (
    Spec(name="needed", type=str, required=True, doc="Needed"),
    Spec(name="optional", type=float, minimum=0.0, maximum=2.0, doc="Optional, s"),
    Spec(name="color", type=str, default="red", choices=("red", "blue"), doc="Color"),
    Spec(name="rate_hz", type=float, default=5.0, minimum=0.1, maximum=50.0, doc="Rate, Hz"),
    Spec(name="flag", type=bool, default=False, doc="Flag"),
)


class Tabled:
    def __init__(self, robot: Robot) -> None:
        self.node, self.configured = robot.node, False
        self.table = ParameterTable(self.node, TABLE, lambda: self.configured)

    def set(self, name: str, value: object) -> str:
        """Set a parameter; return why it was refused, or nothing."""
        result = self.node.set_parameters([Parameter(name, value=value)])[0]
        return "" if result.successful else str(result.reason)

    def described(self, name: str) -> ParameterDescriptor:
        return self.node.describe_parameter(name)


@pytest.fixture
def tabled(partner: Robot) -> Tabled:
    return Tabled(partner)


def test_required_parameter_that_is_missing_is_named(tabled: Tabled) -> None:
    with refusal(PolicyError):
        tabled.table.read()


def test_values_that_are_set_are_read_and_an_optional_one_can_be_unset_again(
    tabled: Tabled,
) -> None:
    found = {"needed": "here", "optional": 1.5, "color": "blue", "rate_hz": 5.0, "flag": True}
    for name, value in found.items():
        assert tabled.set(name, value) == ""
    assert tabled.table.read() == found
    assert tabled.set("optional", math.nan) == ""
    assert tabled.table.read()["optional"] is None
    check_wording(tabled.described("optional").description)


@pytest.mark.parametrize(
    "specs", [PARAMETERS, ACT_PARAMETERS, TABLE], ids=["joint", "act", "every kind"]
)
def test_question_for_all_parameters_is_answered_though_some_are_not_set(
    partner: Robot, specs: Sequence[Spec]
) -> None:
    ParameterTable(partner.node, specs, lambda: False)
    request = GetParameters.Request(names=[spec.name for spec in specs])
    values = partner.call(GetParameters, "robot/get_parameters", request).values
    assert len(values) == len(specs)
    assert ParameterType.PARAMETER_NOT_SET not in [value.type for value in values]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("needed", ""),
        *(("optional", value) for value in (-0.1, math.inf)),
        *(("rate_hz", value) for value in (0.0, 50.1, math.nan)),
        *(("rate_hz", value) for value in ("fast", 5)),
    ],
)
def test_value_that_is_not_allowed_is_refused_by_its_name(
    tabled: Tabled, name: str, value: object
) -> None:
    tabled.set("needed", "here")
    before = tabled.table.read()
    said = tabled.set(name, value)
    assert said
    if isinstance(value, type(before[name] or 0.0)):  # else rclpy says it
        check_wording(said)
    assert tabled.table.read() == before


def test_no_value_of_the_table_nor_the_clock_changes_while_it_is_configured(tabled: Tabled) -> None:
    tabled.node.declare_parameter("other", 1)
    tabled.configured = True
    check_wording(tabled.set("rate_hz", 10.0))
    assert tabled.node.get_parameter("rate_hz").value == 5.0
    assert "use_sim_time" in tabled.set("use_sim_time", True)
    assert tabled.set("other", 2) == ""
    tabled.configured = False
    assert tabled.set("rate_hz", 10.0) == ""


@pytest.fixture
def given_table(node_stage: Stage) -> MakeTable:
    """Make the table on a node that is started with parameters."""

    def start(**values: object) -> ParameterTable:
        node = Node(
            "given",
            parameter_overrides=[
                Parameter(name.replace("__", "."), value=value)
                for name, value in {"needed": "here", **values}.items()
            ],
            use_global_arguments=False,
            automatically_declare_parameters_from_overrides=True,
        )
        limit = Spec(name="safety.max_tilt_rad", type=float, minimum=0.0, doc="Limit, rad")
        return ParameterTable(node_stage.beside(node), (*TABLE, limit), lambda: False)

    return start


@pytest.mark.parametrize("limit", ["max_tild_rad", "xyz"])
def test_unknown_limit_is_refused_with_those_that_may_be_meant(
    given_table: MakeTable, limit: str
) -> None:
    with refusal(PolicyError):
        given_table(**{f"safety__{limit}": 0.5}).read()


@pytest.mark.parametrize("name", ["colour", "xyz"])
def test_other_unknown_names_are_warned_of(
    given_table: MakeTable, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    assert given_table(**{name: "blue"}).read()["color"] == "red"
    check_wording(*(each.text for each in logged_in(capfd.readouterr().err)))
