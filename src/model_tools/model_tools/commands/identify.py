# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Identify a robot from a recording: delays, drive gains and friction, inputs, IMU, odometry.

    model_tools identify recordings/walk --bundle my_bundle --output out/identified

The recording is a rosbag2 of the running policy, with joint_states (including effort),
joint_command and, if available, imu/data; 60 s of walking with varied commands is best. With the
pose of a body on the robot from motion capture (--topic motion_capture=TOPIC), the command also
measures the error of the base velocity in odom. The output folder contains identified.json, and
factors.yaml for a plan of `evaluate`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.commands.arguments import add_topics
from policy_store.command_line import CommandResult, add_bundle
from policy_store.report import Table

if TYPE_CHECKING:
    from model_tools.prove.identification.identify import Identified
    from model_tools.prove.identification.motion_capture import CaptureComparison
    from model_tools.prove.identification.resampling import Estimate

_OTHER_CLOCK_S = 10.0
FIGURES, FACTORS = "identified.json", "factors.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", type=Path, help="rosbag2 recording of a robot in motion")
    add_bundle(parser, "folder of the bundle that ran, or name of an installed one", type=Path)
    add_topics(parser)
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="folder for the figures")
    parser.add_argument("--force", action="store_true", help="replace an existing output")


def run(given: argparse.Namespace) -> CommandResult[Identified]:
    from model_tools.files.outputs import new_folder
    from model_tools.prove.identification.identify import (
        factors_text,
        figures_text,
        identify,
    )
    from model_tools.prove.identification.recorded_motion import read_motion
    from policy_core.bundle.bundle import JointBundle
    from policy_core.bundle.load import bundle_folder, load_bundle

    bundle = load_bundle(bundle_folder(str(given.bundle)), kind=JointBundle)
    found = identify(read_motion(given.recording, bundle.contract, dict(given.topic)))
    if given.output is not None:
        with new_folder(
            given.output, marker=FIGURES, owned=(FIGURES, FACTORS), force=given.force
        ) as folder:
            (folder / FIGURES).write_text(figures_text(found), "utf-8")
            (folder / FACTORS).write_text(factors_text(found, str(given.recording)), "utf-8")
    return CommandResult(document=found, text=_tables(found))


def _tables(found: Identified) -> list[Table]:
    head = ("joint", "delay, ms", "stiffness, N m/rad", "commanded", "damping, N m s/rad")
    tables = [
        Table(
            header=(*head, "commanded", "friction, N m", "residual, N m"),
            rows=[
                (
                    drive.joint,
                    _shown(drive.delay_s, 1e3),
                    _shown(drive.stiffness),
                    drive.commanded_stiffness,
                    _shown(drive.damping),
                    drive.commanded_damping,
                    _shown(drive.friction_nm),
                    drive.residual_nm,
                )
                for drive in found.drives
            ],
        ),
        Table(
            header=("input", "rate, Hz", "jitter, ms", "longest gap, ms", "age in the log, ms"),
            rows=[
                (
                    each.name,
                    each.rate_hz,
                    1e3 * each.jitter_s,
                    1e3 * each.longest_s,
                    1e3 * each.age_s if abs(each.age_s) < _OTHER_CLOCK_S else None,
                )
                for each in found.rates
            ],
        ),
    ]
    if found.imu is not None:
        rows = (
            ("gyroscope to orientation", *map(_shown, found.imu.gyroscope)),
            ("accelerometer to orientation", *map(_shown, found.imu.accelerometer), None),
            ("mean tilt of the body", *map(_shown, found.imu.tilt), None),
        )
        tables.append(Table(header=("IMU, degrees", "about x", "about y", "about z"), rows=rows))
    if (velocity := found.velocity) is not None:
        tables += _velocity_tables(velocity)
    return tables


def _velocity_tables(found: CaptureComparison) -> list[Table]:
    """Return tables of odom's velocity error and of the tracked body's pose, both in base_link."""
    means = zip("xyz", map(_shown, found.bias_mps), strict=True)
    place = zip("xyz", map(_shown, found.body_m), strict=True)
    error: list[tuple[str, str | float]] = [
        ("RMSE of the vector", _shown(found.rmse_mps)),
        ("of this, motion capture noise", f"{found.noise_mps:.3g}"),
        ("95th percentile of the vector", _shown(found.p95_mps)),
        *((f"mean, {axis}", each) for axis, each in means),
        ("NEES per axis (1: the variance of odom is right)", found.nees),
    ]
    body = [
        ("delay after imu/data, ms", f"{1e3 * found.late_s:.3g}"),
        *((f"{axis}, m", each) for axis, each in place),
        *(
            (f"{name}, degrees", f"{each:.3g}")
            for name, each in zip(("roll", "pitch", "yaw"), found.body_deg, strict=True)
        ),
    ]
    return [
        Table(header=(f"error of odom over {found.compared_s:.0f} s", "m/s"), rows=error),
        Table(header=("tracked body in base_link", ""), rows=body),
    ]


def _shown(found: Estimate, scale: float = 1.0) -> str:
    value, low, high = (scale * each for each in (found.value, found.low, found.high))
    return f"{value:.3g} ({low:.3g} to {high:.3g})"
