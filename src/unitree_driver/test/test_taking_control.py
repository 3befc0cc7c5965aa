# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from robot_driver.interfaces import RELEASE, TAKE, DriverPhase
from testkit.wording import check_wording
from unitree_driver.figures import G1, GO2, H1, H1_2, UnitreeFigures
from unitree_driver.motion_service import CHECK_MODE, RELEASE_MODE, SELECT_MODE, STAND_DOWN
from unitree_driver.reception import PublisherNews
from unitree_driver.wire import ServiceResponse

from .lockstep import DAMP, QUIET, RUN, STAND, STANDING, Lockstep
from .messages import remote_with_keys

HANGING = [G1, H1, H1_2]


def refusal_answer(scene: Lockstep) -> str:
    """Return why control was refused."""
    answer = [answer for answer in scene.answers if answer.request == TAKE][-1]
    assert not answer.success, answer
    return answer.message


def tilted(rad: float) -> dict[str, Any]:
    """Return the changes of the state of a robot that leans to the side."""
    quat = (np.cos(0.5 * rad), np.sin(0.5 * rad), 0.0, 0.0)
    return {"imu__quaternion": quat, "imu__rpy": (rad, 0.0, 0.0)}


def beyond_a_range(scene: Lockstep) -> None:
    scene.robot.joint_pos = np.where(np.arange(12) == 2, -0.6, scene.robot.joint_pos)


MANY = tuple(f"/{number:0250d}" for number in range(1000))


@pytest.mark.parametrize(
    ("model", "spoil"),
    [
        *((model, lambda scene: None) for model in HANGING),  # nobody says that it hangs
        (GO2, lambda scene: scene.graph(QUIET._replace(commanders=("/other/node",)))),
        (GO2, lambda scene: scene.graph(QUIET._replace(commanders=MANY))),
        (GO2, lambda scene: scene.graph(PublisherNews((), (), False))),
        (GO2, lambda scene: scene.changes.update(tilted(0.7))),
        (GO2, beyond_a_range),
    ],
    ids=["G1", "H1", "H1-2", "publisher", "many publishers", "no standby", "tilted", "outside"],
)
def test_robot_that_cannot_be_taken_is_refused_at_once_and_nothing_is_asked_of_it(
    model: UnitreeFigures, spoil: Callable[[Lockstep], None]
) -> None:
    scene = Lockstep(model)
    spoil(scene)

    scene.take()

    check_wording(refusal_answer(scene))
    assert len(refusal_answer(scene)) < 4000
    assert scene.robot.requests == []
    assert scene.commands() == []


@pytest.mark.parametrize("active", ["", "ai"])
def test_robot_that_is_free_or_has_the_publishers_that_are_stated_is_taken(active: str) -> None:
    scene = Lockstep(active=active, lowcmd_publishers=1 if active else 0)
    assert GO2.lying is not None
    if active:
        scene.graph(QUIET._replace(commanders=("",)))
    else:
        scene.robot.joint_pos = GO2.lying.position

    scene.in_control()

    assert scene.phase() is DriverPhase.DAMPING


def test_robot_lies_down_is_released_and_found_free_before_the_first_command() -> None:
    scene = Lockstep()

    scene.take()
    scene.run(0.5)
    assert scene.commands() == []
    assert scene.robot.apis() == [CHECK_MODE, STAND_DOWN]
    scene.run(3.0)

    assert scene.robot.apis()[:4] == [CHECK_MODE, STAND_DOWN, RELEASE_MODE, CHECK_MODE]
    assert scene.phase() is DriverPhase.DAMPING
    assert scene.damps
    assert scene.answers[-1].success


@pytest.mark.parametrize("model", HANGING, ids=lambda model: model.name)
def test_humanoid_is_released_where_it_hangs(model: UnitreeFigures) -> None:
    scene = Lockstep(model, hung=True)

    scene.take()
    scene.run(3.0)

    assert STAND_DOWN not in scene.robot.apis()
    assert scene.phase() is DriverPhase.DAMPING
    assert scene.damps


@pytest.mark.parametrize("why", ["stubborn", "deaf", "stays up", "publisher"])
def test_robot_that_is_not_free_in_time_keeps_its_controller_and_is_taken_later(why: str) -> None:
    scene = Lockstep(active="mcf", release_timeout_s=4.0)
    scene.robot.stubborn, scene.robot.deaf = why == "stubborn", why == "deaf"
    if why == "stays up":
        scene.robot.lies_after_ms = 10**9
    elif why == "publisher":  # without a node, so that it may be the robot's controller
        scene.graph(QUIET._replace(commanders=("",)))

    scene.take()
    scene.run(scene.driver.settings.release_timeout_s + 0.2)

    check_wording(refusal_answer(scene))
    assert scene.commands() == []
    assert scene.phase() is DriverPhase.LISTENING
    assert scene.robot.active == "mcf"
    assert (RELEASE_MODE in scene.robot.apis()) == (why in ("stubborn", "publisher"))
    if why == "stubborn":
        assert scene.robot.apis().count(RELEASE_MODE) > 1
    scene.robot.stubborn = scene.robot.deaf = False
    scene.robot.lies_after_ms = 600
    scene.graph(QUIET)
    scene.in_control()
    scene.run(0.01)
    assert scene.damps


def test_answer_with_another_number_does_not_count() -> None:
    scene = Lockstep()
    scene.robot.deaf = True
    scene.take()

    for api in (CHECK_MODE, RELEASE_MODE):
        scene.hear(ServiceResponse(1, api, 0, '{"form":"0","name":""}'))
    scene.run(1.0)

    assert scene.phase() is DriverPhase.TAKING


NO_NAMES = ["", "{", "[]", '{"name":3}', "null", "[" * 100_000]
# Half of a character, an escape sequence, and too much for the channel to the node.
NO_NAMES += ['{"name":"\\ud800"}', '{"name":"\\u001b[2J"}', '{"name":"' + 100_000 * "a" + '"}']


@pytest.mark.parametrize(
    ("code", "data"),
    [*((0, data) for data in NO_NAMES), (7002, "")],
    ids=lambda value: str(value)[:20],
)
def test_answer_that_names_no_controller_is_reported(code: int, data: str) -> None:
    scene = Lockstep()
    scene.robot.deaf = True
    scene.take()
    (request,) = scene.robot.requests

    scene.hear(ServiceResponse(request.identity, CHECK_MODE, code, data))
    scene.run(0.1)

    notes = scene.link.report(scene.now_ns).details
    check_wording(str(notes["motion_service_error"]))
    assert len(str(notes)) < 600
    assert str(notes["motion_service_error"]).isprintable()
    assert scene.phase() is DriverPhase.TAKING


@pytest.mark.parametrize("required", [True, False])
def test_remote_of_which_no_key_was_seen_refuses_control_unless_it_is_waived(
    required: bool,
) -> None:
    scene = Lockstep(remote_required=required)
    scene.run(1.0)

    scene.link.take((), scene.now_ns)
    scene.step()

    assert (scene.phase() is DriverPhase.TAKING) != required
    if required:
        check_wording(refusal_answer(scene))


def test_standby_process_that_ends_under_control_is_named_and_the_robot_walks_on(
    scene: Lockstep,
) -> None:
    assert "standby" not in scene.link.report(scene.now_ns).details

    scene.graph(QUIET._replace(standby=False))
    scene.run(0.1)

    assert "standby process" in str(scene.link.report(scene.now_ns).details["standby"])
    assert scene.phase() is DriverPhase.FOLLOWING


def test_control_that_is_released_while_it_is_taken_leaves_the_drives_alone() -> None:
    scene = Lockstep()
    scene.take()

    scene.link.release("it was asked for", scene.now_ns)
    scene.run(3.0)

    assert scene.phase() is DriverPhase.LISTENING
    assert scene.commands() == []
    assert [answer.request for answer in scene.answers] == ["take_control", "release_control"]


def test_stop_that_comes_while_control_is_taken_ends_that_and_restores_the_controller() -> None:
    scene = Lockstep()
    scene.take()
    while not scene.robot.is_free():
        scene.run(0.002)
    assert scene.phase() is DriverPhase.TAKING

    scene.link.damp("the e-stop was pressed", scene.now_ns)
    scene.run(0.1)

    assert scene.phase() is DriverPhase.LISTENING
    assert str(scene.robot.active) == "ai"


def test_controller_that_comes_back_damps_and_is_named() -> None:
    scene = Lockstep()
    scene.in_control(STAND)

    scene.robot.active = "ai"
    scene.run(2.0)

    assert scene.phase() is DriverPhase.DAMPING
    check_wording(scene.link.reason)
    assert scene.damps


def the_remote_stops(scene: Lockstep) -> None:
    scene.remote = remote_with_keys("L2", "B")
    scene.run(0.002)  # within one message


def the_policy_stops(scene: Lockstep) -> None:
    scene.mode = None
    scene.run(0.2)


def a_motor_loses_the_computer(scene: Lockstep) -> None:
    errors = np.zeros(35, np.uint32)
    errors[3] = 0x40000000
    scene.changes = {"motors__motorstate": errors}
    scene.run(0.01)


@pytest.mark.parametrize(
    ("model", "event"),
    [(GO2, the_remote_stops), (GO2, the_policy_stops), (G1, a_motor_loses_the_computer)],
)
def test_whatever_stops_a_running_policy_damps_and_is_named(
    model: UnitreeFigures, event: Callable[[Lockstep], None]
) -> None:
    scene = Lockstep(model, hung=model is G1)
    scene.in_control(RUN)

    event(scene)

    assert scene.damps
    check_wording(scene.link.reason)


@pytest.mark.parametrize("commanders", [("/other/node",), ("",)])
def test_publisher_of_commands_that_appears_damps(
    scene: Lockstep, commanders: tuple[str, ...]
) -> None:
    scene.graph(QUIET._replace(commanders=commanders))
    scene.run(0.1)

    assert scene.phase() is DriverPhase.DAMPING
    check_wording(scene.link.reason)
    scene.graph(QUIET)
    scene.run(0.1)
    assert scene.phase() is DriverPhase.DAMPING  # until the policy itself has damped
    scene.mode = DAMP
    scene.run(0.1)
    assert scene.phase() is DriverPhase.FOLLOWING


def test_fault_is_named_beside_what_nothing_is_followed_for_already() -> None:
    scene = Lockstep()
    scene.in_control()
    scene.graph(PublisherNews(("/other",), ("unitree_go/msg/LowState",), True))
    scene.run(0.02)
    assert scene.phase() is DriverPhase.DAMPING
    named = scene.link.reason
    check_wording(named)

    for number in range(5):
        scene.graph(QUIET)
        scene.run(0.02)
        scene.graph(QUIET._replace(commanders=(f"/other{number}",)))
        scene.run(0.02)
        assert scene.link.reason == named  # what comes and goes is not reported each time

    scene.graph(QUIET)
    scene.mode = DAMP
    scene.run(0.1)
    assert scene.phase() is DriverPhase.FOLLOWING
    scene.mode = None
    scene.run(0.2)
    assert "another publisher" not in scene.link.reason


def test_lost_state_damps_and_after_a_second_gives_control_back(scene: Lockstep) -> None:
    scene.silent = True
    scene.run(0.12)
    assert scene.damps
    scene.run(1.0)

    assert scene.phase() is DriverPhase.RELEASING
    scene.run(3.0)
    assert scene.robot.apis()[-1] == SELECT_MODE


@pytest.mark.slow
def test_standing_robot_is_lowered_then_damped_then_given_back(scene: Lockstep) -> None:
    scene.stand()
    scene.mode = None
    assert GO2.lying is not None

    scene.link.release("it was asked for", scene.now_ns)
    for _ in range(120):
        scene.run(0.02)
        if (values := scene.commands()[-1])[:, 3].all():
            scene.robot.joint_pos = values[:, 0]

    positions = np.array([values[:, 0] for values in scene.commands()])
    stiffness = np.array([values[:, 3] for values in scene.commands()])
    lowered = positions[(stiffness > 0.0).all(axis=1)]
    assert len(lowered) > 1000
    assert np.abs(np.diff(lowered, axis=0)).max() < 0.002
    np.testing.assert_allclose(lowered[0], STANDING, atol=0.002)
    np.testing.assert_allclose(lowered[-1], GO2.lying.position, atol=1e-6)
    assert scene.damps
    assert scene.robot.active == ""
    scene.run(2.1)
    assert scene.phase() is DriverPhase.LISTENING
    assert scene.robot.active == "ai"


@pytest.mark.parametrize("why", ["damped", "state lost", "tilted", "stopped by the remote"])
def test_robot_that_cannot_be_lowered_is_damped(scene: Lockstep, why: str) -> None:
    scene.stand()
    scene.mode = None
    if why == "tilted":
        scene.changes = tilted(1.2)
        scene.run(0.01)

    scene.link.release("it was asked for", scene.now_ns)
    scene.run(0.02)
    if why == "damped":
        scene.link.damp("the e-stop was pressed", scene.now_ns)
    elif why == "state lost":
        scene.silent = True
    elif why == "stopped by the remote":
        the_remote_stops(scene)
    scene.run(0.2)

    assert scene.damps


def give_back_answer(scene: Lockstep) -> str:
    scene.link.release("it was asked for", scene.now_ns)
    scene.run(5.0)
    [answer] = [answer for answer in scene.answers if answer.request == RELEASE]
    assert answer.success
    return answer.message


@pytest.mark.parametrize(
    ("model", "active", "selected"), [(GO2, "mcf", "mcf"), (G1, "ai", "")], ids=["Go2", "G1"]
)
def test_answer_names_the_controller_that_may_make_the_robot_stand_up(
    model: UnitreeFigures, active: str, selected: str
) -> None:
    scene = Lockstep(model, active=active, hung=model is G1)
    scene.in_control()

    check_wording(give_back_answer(scene))
    assert scene.robot.active == selected


def test_controller_whose_selection_was_lost_is_selected_when_control_is_given_back_again() -> None:
    scene = Lockstep(GO2, active="mcf")
    scene.in_control()
    scene.link.release("it was asked for", scene.now_ns)
    scene.run(5.0)
    scene.robot.active = ""  # it did not hear

    scene.in_control()
    scene.link.release("it was asked for", scene.now_ns)
    scene.run(5.0)
    assert scene.robot.active == "mcf"


def test_humanoid_is_damped_where_it_is() -> None:
    scene = Lockstep(G1, hung=True)
    scene.in_control(STAND)
    scene.mode = None

    scene.link.release("it was asked for", scene.now_ns)
    scene.run(0.1)

    assert scene.damps
    scene.run(2.1)
    assert scene.phase() is DriverPhase.LISTENING
    assert scene.robot.active == ""  # restore_mode is off: it hangs


def test_mode_machine_of_the_newest_state_is_repeated() -> None:
    scene = Lockstep(G1, hung=True)
    scene.in_control(STAND)

    scene.changes = {"machine": 2}
    scene.run(0.01)

    frame = scene.sent[-1][1]
    assert G1.family.command.from_wire(frame[1:])["mode_machine"] == 2
