# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The servo bus of a simulated SO-101, with the serial port of a real one, in real time.

It creates two files in `folder`. `port` is a link to a pseudo terminal on which six servos answer
like those of an SO-101 (Feetech STS3215), or, with `servos:=dynamixel`, of a Koch. `follower.json`
is their calibration in LeRobot's format. To a driver and to LeRobot's own commands, the emulator
looks like an arm.

Publishes (reliable, depth 1): `front/image_raw`, `wrist/image_raw`, `environment_state` and
`episode_result` as `arm_sim_node` does, and the joints' true state on `~/joint_states`. It reads
only the mode of `joint_command`, to start episodes.
The service `~/next_episode` (std_srvs/Trigger) moves the cube for the next episode.
The parameter `faults` can be set while the node runs; see robot_sim.servo_bus.
"""

from collections.abc import Sequence
from pathlib import Path

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from robot_sim.arm_servos import ArmServos
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.nodes.arm_sim_node import ArmSimNode
from robot_sim.nodes.parameters import SO101_EMULATOR, set_faults
from robot_sim.nodes.robot_node import run_node
from robot_sim.servo_bus import ServoFault, ServoPort


class So101Emulator(ArmSimNode):
    """Simulates an SO-101 and its servo bus."""

    joint_states_topic = "~/joint_states"

    def __init__(self) -> None:
        super().__init__("so101_emulator", SO101_EMULATOR)
        if self._get("lockstep"):
            raise SimError(
                "lockstep: expected false, found true; simulated servos do not support lockstep"
            )
        folder = Path(self._get("folder") or "~/.ros/so101_emulator").expanduser()
        self._servos = ArmServos(self._get("servos"), seed=self._get("arm"))
        self._servos.save_calibration(folder / "follower.json")
        self._plan(self._get("faults"))
        if self._get("holds"):
            self._servos.hold(self.world)
        self._servos.drive(self.world)
        self._port = ServoPort(self._servos.bus, folder / "port")
        self.add_on_set_parameters_callback(self._on_set)
        self.get_logger().info(f"a servo bus of a simulated SO-101: {folder / 'port'}")

    def before_step(self) -> None:
        super().before_step()
        self._servos.drive(self.world)

    def obey(self, command: DriveCommand) -> None:
        """Do nothing, because the servos receive their goals on the bus."""

    def destroy_node(self) -> None:
        self._port.close()
        super().destroy_node()

    def _plan(self, texts: Sequence[str]) -> None:
        faults = ServoFault.parse_all(texts, now_ns=self.world.time_ns)
        self._servos.bus.plan(faults)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        return set_faults(parameters, SO101_EMULATOR, self._plan)


def main(args: Sequence[str] | None = None) -> None:
    run_node("so101_emulator", So101Emulator, SO101_EMULATOR, __doc__, args)
