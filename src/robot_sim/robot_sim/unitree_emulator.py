# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `unitree_emulator`: a simulated Go2 or G1 on the real robot's DDS topics, without ROS.

    unitree_emulator --robot go2 --pose lying

To a driver, it looks like a real robot: LowState at 500 Hz, LowCmd, the service `motion_switcher`
and, on the Go2, `sport`; `robot_sim.unitree_host` lists the rules. The robot's own controller
drives the joints until it is released. The log and the events contain the first ignored input of
each kind.

Faults, and buttons pressed on the remote control, are given with --faults, or as lines of the
--fault-file, which is reread whenever it changes. `cmd_vel` and the mode of `joint_command` are
only recorded.

The emulator is visible on this computer only, unless --interface names a network interface.
"""
# run: ready: .

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import get_args

from robot_sim.emulator import Emulator
from robot_sim.errors import SimError
from robot_sim.faults import FaultFile
from robot_sim.figures import Pose
from robot_sim.host_faults import HostFaultPlan
from robot_sim.unitree_host import LOW_CMD, MODES, UnitreeHost
from robot_sim.unitree_state import MODELS, UnitreeFault

_SERVICE_STEPS, _FILE_STEPS = 5, 50
"""Physics steps of 1 ms between polls for requests and velocities, and of the fault file."""
_log = logging.getLogger("unitree_emulator")


class UnitreeEmulator(Emulator):
    """A Unitree robot on its topics."""

    host: UnitreeHost

    def __init__(self, given: argparse.Namespace) -> None:
        """Put the robot on the floor and join the domain.

        Args:
            given: The arguments of the command.
        """
        host = UnitreeHost(
            given.robot,
            friction=given.friction,
            seed=given.seed,
            pose=given.pose,
            mode=given.mode,
            watchdog_s=given.watchdog_s,
        )
        super().__init__(
            host,
            lambda texts, now_ns: HostFaultPlan(
                UnitreeFault.parse_all(texts, now_ns=now_ns),
                seed=given.seed,
                joint_names=host.world.joint_names,
            ),
            faults=given.faults,
            latency_s=given.latency_s,
            period_s=given.period_s,
            duration_s=given.duration_s,
            event_file=given.event_file,
            trace_file=given.trace_file,
            log=_log,
        )
        self._fault_file = FaultFile(given.fault_file, self.change_faults)
        try:
            from robot_sim.unitree_dds import RobotTopics
        except ModuleNotFoundError as error:
            raise SimError(
                "unitree_emulator: expected the Python package cyclonedds, found no such "
                f"package ({error}); "
                "install it into this environment: pip install cyclonedds==11.0.1"
            ) from None
        self._topics = RobotTopics(host.model, domain=given.domain, interface=given.interface)
        _log.info(
            "a simulated %s in domain %d on %s",
            host.figures.name,
            given.domain,
            given.interface or "the interface that Cyclone DDS chooses",
        )

    def arrived(self) -> list[tuple[str, object]]:
        """Return commands and, every few steps, requests; then also poll velocity and faults."""
        arrived: list[tuple[str, object]] = [(LOW_CMD, data) for data in self._topics.commands()]
        steps = self.host.world.steps
        if steps % _SERVICE_STEPS == 0:
            arrived += self._topics.requests()
            velocity = self._topics.velocity()
            if velocity is not None:
                self.record.velocity = velocity
            mode = self._topics.mode()
            if mode is not None:
                self.record.mode = mode
        if steps % _FILE_STEPS == 0:
            self._fault_file.look()
        return arrived

    def step(self, now_ns: int) -> None:
        """Advance by one step; publish the messages that are due, including delayed ones."""
        sent = self.host.step()
        for topic, data in self.host.plan.state.carry(sent, now_ns):
            self._topics.send(topic, data)
        for service, answer in self.host.answers():
            self._topics.respond(service, answer)


def main(args: Sequence[str] | None = None) -> None:
    """Run the emulator until it ends or a signal arrives; status 2 if an argument is invalid."""
    logging.basicConfig(
        level=logging.INFO, format="[%(levelname)s] [%(name)s]: %(message)s", stream=sys.stderr
    )
    given = _parser().parse_args(args)
    try:
        emulator = UnitreeEmulator(given)
    except SimError as error:
        _log.error("%s", error)
        sys.exit(2)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: emulator.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        emulator.run()
    finally:
        # A terminal and `ros2 launch` send two signals, the second while Python exits.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        emulator.save()
        emulator.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "unitree_emulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {version('robot-sim')}")
    add("--robot", choices=MODELS, default="go2", help="robot (default: %(default)s)")
    add(
        "--domain",
        type=int,
        default=int(os.environ.get("ROS_DOMAIN_ID") or 0),
        help="DDS domain (default: ROS_DOMAIN_ID, or 0)",
    )
    add(
        "--interface",
        default="lo",
        help="network interface; empty: Cyclone DDS chooses, by CYCLONEDDS_URI "
        "(default: %(default)s)",
    )
    add(
        "--mode",
        choices=MODES,
        default="ai",
        help="name of the robot's own controller (default: %(default)s)",
    )
    add(
        "--pose",
        choices=get_args(Pose),
        default="standing",
        help="start pose (default: %(default)s)",
    )
    add("--friction", type=float, default=1.0, help="between feet and floor (default: %(default)s)")
    add(
        "--seed",
        type=int,
        default=0,
        help="seed of start pose, noise and losses (default: exact pose)",
    )
    add(
        "--watchdog-s",
        type=float,
        default=0.0,
        help="time without commands after which the drives damp, s; 0: never, because no document "
        "gives a timeout (default: %(default)s)",
    )
    add(
        "--latency-s", type=float, default=0.0, help="delay of commands to the drives, up to 0.04 s"
    )
    add(
        "--faults",
        nargs="*",
        default=[],
        metavar="FAULT",
        help="faults, such as drop:imu@4+0.5, press:A@2+0.2; see robot_sim.unitree_host",
    )
    add("--fault-file", default="", help="file with one fault per line; read whenever it changes")
    add("--event-file", default="", help="file to append events to, as lines of JSON")
    add("--trace-file", default="", help="file to write the trace to at the end (.npz)")
    add("--period-s", type=float, default=0.02, help="time between rows of the trace, s")
    add(
        "--duration-s",
        type=float,
        default=0.0,
        help="simulated time after which the emulator exits; 0: never",
    )
    return parser


if __name__ == "__main__":
    main()
