# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of selecting calibration rows from a recording of an hour, against reading all of it.

200 Hz JointState and 200 Hz Imu, in uncompressed chunked MCAP, the default of `ros2 bag record`
since Iron. The baseline deserialises every message with rosbags' AnyReader and discards it. `python
-m bench.calibrate <what> <recording>` is one run in a process of its own.
"""

import json
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from bench.figures import Figure, Summary
from bench.processes import BUNDLE, running
from model_tools.files.row_files import BagSource
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle

_HOURS, _RATE_HZ, _SAMPLES, _REPETITIONS, _PATIENCE_S = 1.0, 200, 2048, 1, 300.0
_START_NS, _LATE_NS = 1_700_000_000_000_000_000, 300_000
_STAMP, _STAMP_AT = struct.Struct("<iI"), 4
_JOINT_STATE, _IMU = "sensor_msgs/msg/JointState", "sensor_msgs/msg/Imu"
_DIFFERENT = 1000
"""Messages of each kind; only their stamps differ."""


def measure() -> list[Figure]:
    """Measure in turns, each run in a new process, including its memory."""
    ratios = {"calibrate_2048_ratio": 1 / 3, "calibrate_all_ratio": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder, "hour")
        _record(bag)
        runs = [{what: _run(what, bag) for what in _WHAT} for _ in range(_REPETITIONS)]
    seconds = {what: [Summary(value=run[what][0]) for run in runs] for what in _WHAT}
    figures = [
        Figure(
            name=name, unit="s", ours=seconds[name], baseline=seconds["all_messages"], wanted=wanted
        )
        for name, wanted in ratios.items()
    ]
    megabytes = {what: [Summary(value=run[what][1]) for run in runs] for what in _WHAT}
    return [
        *figures,
        Figure(
            name="calibrate_memory_mb",
            unit="MB",
            ours=megabytes["calibrate_2048_ratio"],
            baseline=megabytes["all_messages"],
        ),
    ]


def _run(what: str, bag: Path) -> tuple[float, float]:
    with running([sys.executable, "-m", __name__, what, str(bag)]) as child:
        seconds, megabytes = json.loads(child.wait(_PATIENCE_S).splitlines()[-1])
    return seconds, megabytes


def _record(bag: Path) -> None:
    """Write the recording: an upright robot with noise on joints and gyroscope."""
    types = get_typestore(Stores.ROS2_JAZZY)
    streams = list(zip(_joint_states(types), _imus(types), strict=True))
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        channels = [
            writer.add_connection(topic, kind, typestore=types)
            for topic, kind in (("/joint_states", _JOINT_STATE), ("/imu/data", _IMU))
        ]
        for turn in range(round(_HOURS * 3600 * _RATE_HZ)):
            stamp_ns = _START_NS + turn * 1_000_000_000 // _RATE_HZ
            for channel, data in zip(channels, streams[turn % _DIFFERENT], strict=True):
                _STAMP.pack_into(data, _STAMP_AT, *divmod(stamp_ns, 1_000_000_000))
                writer.write(channel, stamp_ns + _LATE_NS, bytes(data))
                stamp_ns += 1_000_000


def _joint_states(types: Any) -> list[bytearray]:
    contract = load_bundle(BUNDLE, kind=JointBundle).contract
    names, make = contract.joints.on_robot(), types.types
    random, stand = np.random.default_rng(1), contract.stand.position
    # One swing of all joints, repeated: positions must match velocities.
    phases = 2.0 * np.pi * np.arange(_DIFFERENT) / _DIFFERENT
    rate = 2.0 * np.pi * _RATE_HZ / _DIFFERENT
    return [
        bytearray(
            types.serialize_cdr(
                make[_JOINT_STATE](
                    header=_header(types, "base"),
                    name=list(names),
                    position=stand + 0.1 * np.sin(phase),
                    velocity=np.full(len(names), 0.1 * rate * np.cos(phase)),
                    effort=random.uniform(-5.0, 5.0, len(names)),
                ),
                _JOINT_STATE,
            )
        )
        for phase in phases
    ]


def _imus(types: Any) -> list[bytearray]:
    random, make, unknown = np.random.default_rng(2), types.types, np.zeros(9)
    vector = make["geometry_msgs/msg/Vector3"]
    return [
        bytearray(
            types.serialize_cdr(
                make[_IMU](
                    header=_header(types, "imu_link"),
                    orientation_covariance=unknown,
                    orientation=make["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
                    angular_velocity=vector(*random.uniform(-0.5, 0.5, 3)),
                    angular_velocity_covariance=unknown,
                    linear_acceleration=vector(0.0, 0.0, 9.81),
                    linear_acceleration_covariance=unknown,
                ),
                _IMU,
            )
        )
        for _ in range(_DIFFERENT)
    ]


def _header(types: Any, frame: str) -> Any:
    return types.types["std_msgs/msg/Header"](
        types.types["builtin_interfaces/msg/Time"](0, 0), frame
    )


def _all_messages(bag: Path) -> None:
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)


def _samples(bag: Path) -> None:
    source = BagSource(load_bundle(BUNDLE, kind=JointBundle), bag)
    assert source.count
    wanted = np.linspace(0, source.count - 1, _SAMPLES).round().astype(int).tolist()
    _keep(source, wanted)


def _all_rows(bag: Path) -> None:
    _keep(BagSource(load_bundle(BUNDLE, kind=JointBundle), bag), None)


def _keep(source: BagSource, wanted: list[int] | None) -> None:
    """Write the observations one after another to a file that the process deletes at its end."""
    with tempfile.TemporaryFile() as file:
        for row in source.rows(wanted):
            file.write(row.tensors["obs"].tobytes())


_WHAT: dict[str, Callable[[Path], None]] = {
    "all_messages": _all_messages,
    "calibrate_2048_ratio": _samples,
    "calibrate_all_ratio": _all_rows,
}

if __name__ == "__main__":
    began_s = time.perf_counter()
    _WHAT[sys.argv[1]](Path(sys.argv[2]))
    # ru_maxrss is in KiB on Linux.
    used = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(used) + "\n")
