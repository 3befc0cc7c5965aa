# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from policy_core.errors import RefusedError
from policy_core.interfaces import Mode
from testkit.kernel.contracts import JOINTS, quat_xyzw
from testkit.kernel.robots import PERIOD_NS, Robot
from testkit.wording import check_wording, refusal

pytestmark = pytest.mark.both_cores

TILTED = quat_xyzw(1.2, 0.0, 0.0)


@pytest.mark.parametrize("wanted", ["stand", "run"])
@pytest.mark.parametrize(
    ("silent", "fields"),
    [
        (["joint_states", "imu/data"], {}),
        (["imu/data"], {}),
        ([], {"quat_xyzw": TILTED}),
        ([], {"joint_pos": (0.0, 1.7, -1.7)}),
        ([], {"joint_vel": (0.0, np.nan, 0.0)}),
    ],
)
def test_unfit_robots_are_refused_with_the_reason(
    idle: Robot, wanted: str, silent: list[str], fields: dict[str, tuple[float, ...]]
) -> None:
    idle.tick(fields, silent=silent)
    with refusal(RefusedError):
        getattr(idle.controller, wanted)()
    assert idle.is_in(Mode.DAMP)


def walker(source: str | None) -> Robot:
    """Return a robot whose policy observes its base velocity."""
    term = {"term": "base_lin_vel", **({} if source is None else {"source": source})}
    chain = [{"joint": joint, "position_m": [0.0, 0.0, -0.2]} for joint in JOINTS]
    leg = {"name": "leg", "chain": chain, "points": [{"position_m": [0.0, 0.0, -0.2]}]}
    estimation = {"estimation": {"error_mps": 0.05, "legs": [leg]}}
    observations = {"obs": {"terms": [term, {"term": "joint_pos"}]}}
    return Robot({"observations": observations, **(estimation if source == "estimator" else {})})


@pytest.mark.parametrize("source", ["measured", "estimator", None])
def test_a_missing_velocity_comes_with_the_remedy(source: str | None) -> None:
    robot = walker(source)
    robot.tick(silent=["odom"])
    with refusal(RefusedError):
        robot.controller.stand()
    robot.run().controller.inputs["odom"].reset()
    robot.tick(silent=["odom"])
    assert robot.is_in(Mode.HOLD)
    check_wording(robot.reason)


def test_inputs_that_went_stale_are_refused_with_their_age(idle: Robot) -> None:
    idle.stand()
    idle.now_ns += 3 * PERIOD_NS
    with refusal(RefusedError):
        idle.controller.run()


def test_the_newest_orientation_counts_even_before_its_tick(idle: Robot) -> None:
    idle.tick()
    idle.sense(quat_xyzw=TILTED)
    with refusal(RefusedError):
        idle.controller.stand()


def test_one_finite_sample_after_nan_is_enough_to_stand(idle: Robot) -> None:
    idle.tick(joint_vel=(0.0, np.nan, 0.0))
    with pytest.raises(RefusedError):
        idle.controller.stand()
    idle.tick(joint_vel=(0.0, 0.0, 0.0))
    idle.controller.stand()
    assert idle.is_in(Mode.STAND)


def test_a_joint_on_its_mechanical_stop_may_stand_up(idle: Robot) -> None:
    idle.tick(joint_pos=(0.0, 1.55, -1.55))
    idle.controller.stand()
    assert idle.is_in(Mode.STAND)


@pytest.mark.parametrize("wanted", ["stand", "run"])
@pytest.mark.parametrize("pressed", [False, True], ids=["latched fault", "pressed e-stop"])
def test_after_a_fault_or_an_e_stop_motion_is_refused_until_reset(
    idle: Robot, wanted: str, pressed: bool
) -> None:
    if pressed:
        idle.tick()
        idle.controller.estop("red button")
    else:
        idle.run().tick(quat_xyzw=TILTED)
        idle.tick(quat_xyzw=(0.0, 0.0, 0.0, 1.0))
    with refusal(RefusedError):
        getattr(idle.controller, wanted)()
    idle.controller.reset()
    idle.run()


def test_run_is_refused_from_every_mode_but_ready(idle: Robot) -> None:
    idle.tick()
    with refusal(RefusedError):
        idle.controller.run()
    idle.controller.stand()
    idle.tick()
    with refusal(RefusedError):
        idle.controller.run()
    idle.controller.damp()
    idle.run()
    with refusal(RefusedError):
        idle.controller.run()
    idle.tick(silent=["imu/data"])
    idle.tick(silent=["imu/data"])
    idle.tick(silent=["imu/data"])
    with refusal(RefusedError):
        idle.controller.run()


def test_run_is_refused_far_from_the_stand_pose_by_joint(idle: Robot) -> None:
    idle.stand().tick(joint_pos=(0.36, 0.5, -0.1))
    with refusal(RefusedError):
        idle.controller.run()
    assert idle.is_in(Mode.READY)


def test_a_wider_tolerance_in_the_contract_is_honoured() -> None:
    robot = Robot({"stand.tolerance": {JOINTS[0]: 0.5, ".*[ke].*": 0.35}})
    robot.stand().tick(joint_pos=(0.45, 0.5, -0.5))
    robot.controller.run()
    assert robot.is_in(Mode.RUN)


def test_a_wheel_stands_where_it_is() -> None:
    """A wheel that has rolled is not wound back: no torque in STAND, and RUN may begin."""
    wheel = JOINTS[2]
    robot = Robot(
        {
            "stand.stiffness": {wheel: 0.0, "hip|knee": 100.0},
            "joints.position_min": -1e6,
            "joints.position_max": 1e6,
            "action.terms": [
                {"joints": list(JOINTS[:2]), "kind": "position"},
                {"joints": [wheel], "kind": "velocity"},
            ],
        }
    )
    rolled = (0.0, 0.5, 132.0)
    command = robot.stand().tick(joint_pos=rolled)
    assert command is not None
    assert command.torque(rolled)[2] == 0.0
    assert command.torque(rolled, velocity=1.0)[2] < 0.0, "it is braked"
    robot.controller.run()
    assert robot.is_in(Mode.RUN)


@pytest.mark.parametrize("wanted", ["stand", "run"])
def test_problems_of_the_caller_are_refused_together_with_those_found_here(
    idle: Robot, wanted: str
) -> None:
    idle.tick(quat_xyzw=TILTED)
    with refusal(RefusedError):
        getattr(idle.controller, wanted)(["nobody listens"])
