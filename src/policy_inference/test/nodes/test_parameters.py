# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The table of parameters: what is refused, when, and with which words."""

import math
from collections.abc import Callable, Iterator, Sequence

import pytest
from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from policy_inference.errors import PolicyError
from policy_inference.nodes.parameters import ParameterTable, Spec
from policy_inference.nodes.settings import ACT_PARAMETERS, PARAMETERS
from testkit.wording import check_wording, refusal

from .harness import Robot, logged_in

pytestmark = pytest.mark.ros
TABLE = (
    Spec(name="needed", type=str, required=True, doc="Needed"),
    Spec(name="optional", type=float, minimum=0.0, maximum=2.0, doc="Optional, s"),
    Spec(name="color", type=str, default="red", choices=("red", "blue"), doc="Color"),
    Spec(name="rate_hz", type=float, default=5.0, minimum=0.1, maximum=50.0, doc="Rate, Hz"),
    Spec(name="flag", type=bool, default=False, doc="Flag"),
)


class Tabled:
    """A node with the table, configured or not."""

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


def test_optional_parameter_that_is_not_set_is_none(tabled: Tabled) -> None:
    tabled.set("needed", "here")
    assert tabled.table.read() == {
        "needed": "here",
        "optional": None,
        "color": "red",
        "rate_hz": 5.0,
        "flag": False,
    }


@pytest.mark.parametrize("value", [-0.1, 2.1, math.inf])
def test_optional_value_outside_the_range_is_refused(tabled: Tabled, value: float) -> None:
    check_wording(tabled.set("optional", value))


def test_optional_parameter_can_be_unset_again(tabled: Tabled) -> None:
    tabled.set("needed", "here")
    tabled.set("optional", 1.5)
    assert tabled.set("optional", math.nan) == ""
    assert tabled.table.read()["optional"] is None
    check_wording(tabled.described("optional").description)


def test_empty_text_is_no_value_of_a_required_parameter(tabled: Tabled) -> None:
    check_wording(tabled.set("needed", ""))


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


def test_values_that_are_set_are_read(tabled: Tabled) -> None:
    for name, value in (("needed", "here"), ("optional", 1.5), ("color", "blue"), ("flag", True)):
        assert tabled.set(name, value) == ""
    assert tabled.table.read()["color"] == "blue"
    assert tabled.table.read()["optional"] == 1.5


def test_value_outside_the_choices_is_refused(tabled: Tabled) -> None:
    check_wording(tabled.set("color", "green"))
    assert tabled.node.get_parameter("color").value == "red"


@pytest.mark.parametrize("value", [0.0, 50.1, -1.0, math.nan, math.inf])
def test_value_outside_the_range_is_refused(tabled: Tabled, value: float) -> None:
    assert "rate_hz" in tabled.set("rate_hz", value)
    assert tabled.node.get_parameter("rate_hz").value == 5.0


@pytest.mark.parametrize("value", ["fast", 5, True])
def test_value_of_another_type_is_refused(tabled: Tabled, value: object) -> None:
    assert tabled.set("rate_hz", value) != ""


def test_change_while_configured_is_refused_with_the_reason(tabled: Tabled) -> None:
    tabled.configured = True
    check_wording(tabled.set("rate_hz", 10.0))
    assert tabled.node.get_parameter("rate_hz").value == 5.0


def test_clock_cannot_be_exchanged_while_configured(tabled: Tabled) -> None:
    tabled.configured = True
    assert "use_sim_time" in tabled.set("use_sim_time", True)


def test_change_is_allowed_again_when_it_is_not_configured(tabled: Tabled) -> None:
    tabled.configured = True
    tabled.set("rate_hz", 10.0)
    tabled.configured = False
    assert tabled.set("rate_hz", 10.0) == ""


def test_parameters_of_others_are_not_the_tables_business(tabled: Tabled) -> None:
    tabled.node.declare_parameter("other", 1)
    tabled.configured = True
    assert tabled.set("other", 2) == ""


def test_descriptions_choices_and_ranges_are_published(tabled: Tabled) -> None:
    assert tabled.described("needed").description == "Needed"
    check_wording(tabled.described("color").additional_constraints)
    limits = tabled.described("rate_hz").floating_point_range[0]
    assert (limits.from_value, limits.to_value) == (0.1, 50.0)


@pytest.mark.parametrize("spec", PARAMETERS, ids=lambda spec: spec.name)
def test_every_parameter_of_the_node_is_described(spec: Spec) -> None:
    assert len(spec.doc) > 10
    unit = {"_s": "s", "_hz": "Hz"}.get(f"_{spec.name.rsplit('_', 1)[-1]}")
    assert unit is None or spec.name.startswith("safety.") or spec.doc.endswith(f", {unit}")


@pytest.fixture
def given_table(partner: Robot) -> Iterator[Callable[..., ParameterTable]]:
    """Make the table on a node that is started with parameters."""
    nodes = list[Node]()

    def start(**values: object) -> ParameterTable:
        overrides = [
            Parameter(name.replace("__", "."), value=value)
            for name, value in {"needed": "here", **values}.items()
        ]
        nodes.append(
            Node(
                "given",
                parameter_overrides=overrides,
                use_global_arguments=False,
                automatically_declare_parameters_from_overrides=True,
            )
        )
        limit = Spec(name="safety.max_tilt_rad", type=float, minimum=0.0, doc="Limit, rad")
        return ParameterTable(nodes[-1], (*TABLE, limit), lambda: False)

    yield start
    for node in nodes:
        node.destroy_node()


def test_what_a_node_is_started_with_is_read(given_table: Callable[..., ParameterTable]) -> None:
    values = given_table(rate_hz=7.0, safety__max_tilt_rad=0.5, use_sim_time=True).read()
    assert (values["rate_hz"], values["safety.max_tilt_rad"], values["color"]) == (7.0, 0.5, "red")


def test_unknown_limit_is_refused_with_the_one_that_may_be_meant(
    given_table: Callable[..., ParameterTable],
) -> None:
    with refusal(PolicyError):
        given_table(safety__max_tild_rad=0.5).read()


def test_other_unknown_names_are_warned_of(
    given_table: Callable[..., ParameterTable], capfd: pytest.CaptureFixture[str]
) -> None:
    assert given_table(colour="blue").read()["color"] == "red"
    check_wording(*(each.text for each in logged_in(capfd.readouterr().err)))


def test_a_name_like_none_is_warned_of_with_all_known_ones(
    given_table: Callable[..., ParameterTable], capfd: pytest.CaptureFixture[str]
) -> None:
    given_table(xyz=1).read()
    check_wording(*(each.text for each in logged_in(capfd.readouterr().err)))


def test_a_limit_like_none_is_refused_with_the_known_limits(
    given_table: Callable[..., ParameterTable],
) -> None:
    with refusal(PolicyError):
        given_table(safety__xyz=0.5).read()
