# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measures the coverage of rows: ranges, histograms, duplicates, standing still, directions."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_tools.files.terms import TermColumns, newest_columns
from model_tools.prove.calibration.collection import Collection, Fields, Records
from model_tools.prove.local_loop.agreement import JOINT_SLACK_RAD, far_bounds
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F64

PUSHED = 0.1
"""Fraction of a trained limit above which a command counts toward its direction."""
MOST_COMMANDS = 100
FEWEST = 32
"""Minimum number of different rows; with fewer, a walking policy's largest errors increase
severalfold."""
_SHIFTED, _SMALLEST_STD = 3.0, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class HealthyValues:
    """Statistics [size] of a term in the bundle's nominal run, on the scale of the model inputs."""

    lowest: F64
    highest: F64
    mean: F64
    std: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TermCoverage:
    """A term's values as model inputs, each array [size]; for a history, its last frame.

    Attributes:
        input, name, field: Model input, term, and the field of the robot's state.
        names: Names of the term's values (joints or axes).
        lowest, highest, mean, std: Statistics of all rows.
        histogram: Numbers of rows [size, bins], from `floor` to `ceiling`.
        healthy: Statistics of the bundle's nominal run; None if the bundle has none.
    """

    input: str
    name: str
    field: str
    names: tuple[str, ...]
    lowest: F64
    highest: F64
    mean: F64
    std: F64
    floor: F64
    ceiling: F64
    histogram: npt.NDArray[np.int64]
    healthy: HealthyValues | None

    @property
    def constant(self) -> tuple[str, ...]:
        return tuple(
            name
            for name, low, high in zip(self.names, self.lowest, self.highest, strict=True)
            if low == high
        )

    @property
    def span(self) -> float | None:
        """Range relative to the range in a healthy run, as the median of the values that vary."""
        if self.healthy is None:
            return None
        whole = self.healthy.highest - self.healthy.lowest
        parts = (self.highest - self.lowest)[whole > 0.0] / whole[whole > 0.0]
        return float(np.median(parts)) if len(parts) else None

    @property
    def shifted(self) -> dict[str, float]:
        """Means far from a healthy run's, with the distance in that run's standard deviations."""
        if self.healthy is None:
            return {}
        off = np.abs(self.mean - self.healthy.mean) / np.maximum(self.healthy.std, _SMALLEST_STD)
        return {
            name: float(value)
            for name, value in zip(self.names, off, strict=True)
            if value > _SHIFTED
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatedAgreement:
    """Agreement between stated and observed quantities, each array [names].

    Attributes:
        names: Names of joints or axes.
        pairs: Number of rows compared with the previous one.
        stated, seen: RMS, or standard deviation, of each quantity.
        correlation: From -1 to 1; NaN if either is always 0.
        ratio: Ratio of stated to seen.
    """

    names: tuple[str, ...]
    pairs: int
    stated: F64
    seen: F64
    correlation: F64
    ratio: F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowMotion:
    """Motion from row to row, compared with stated velocities and targets; None if unknown.

    Attributes:
        joints: Joint velocities, rad/s, and changes of the positions.
        body: Angular velocity perpendicular to gravity, rad/s, and change of gravity in the body's
            frame.
        targets: Target positions of joints, rad, and the positions one or two ticks later.
    """

    joints: StatedAgreement | None
    body: StatedAgreement | None
    targets: StatedAgreement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of the velocity command.

    Attributes:
        words, unit: Name and unit of the direction, such as `forward` and `m/s`.
        trained: Limit in training, above 0.
        reached: Largest command in the rows; 0 without commands.
        share: Share of rows with a command above `PUSHED` times `trained`.
    """

    words: str
    unit: str
    trained: float
    reached: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCoverage:
    """Coverage of a collection. Shares are fractions of the rows; unknown values are None.

    Attributes:
        rows, different: Numbers of rows and of different rows.
        span_s: Time from the first row to the last.
        still: Share of rows in which no joint moves.
        turning_rad_s: RMS of the body's angular velocity while joints move; None if they never do.
        tilted: Share of rows tilted beyond the contract's limit.
        outside: Share of rows with a joint well outside its limits.
        far: Share of rows with a value far outside those of a healthy run.
        far_values: Share of rows for each such value, by term and name, largest first.
        commands: Number of different velocity commands, rounded to two decimals, up to
            `MOST_COMMANDS`; None without commands.
        directions: Directions of the velocity command.
        terms: Terms of all observations.
        motion: Agreement between successive rows.
    """

    rows: int
    different: int
    span_s: float
    still: float | None
    turning_rad_s: float | None
    tilted: float | None
    outside: float | None
    far: float | None
    far_values: Mapping[str, float]
    commands: int | None
    directions: tuple[Direction, ...]
    terms: tuple[TermCoverage, ...]
    motion: RowMotion


_BINS = 48
_STILL_RAD_S = 0.25
"""A robot whose joints are all slower than this counts as standing still."""
_WAYS = (
    ("forward", "backward", "m/s"),
    ("to the left", "to the right", "m/s"),
    ("turning left", "turning right", "rad/s"),
)
"""Positive and negative direction, by axis of a velocity command (REP 103)."""
_AXES = {"velocity_command": ("forward", "left", "turn"), "phase": ("sin", "cos")}


def measure(bundle: JointBundle, collection: Collection, motion: RowMotion) -> RowCoverage:
    """Return the coverage of a collection, which is read twice, batch by batch."""
    state, unhealthy = _State(bundle, collection.names("sensed")), _Unhealthy(bundle.contract)
    terms = [
        _Term(bundle.contract, name, columns)
        for name in bundle.contract.observations
        for columns in newest_columns(bundle.contract, name)
    ]
    hashes, first_s, last_s = array("Q"), np.inf, -np.inf
    for rows in collection.batches():
        hashes.extend(_hashes(rows, bundle.contract))
        first_s = min(first_s, float(rows["time"].min()))
        last_s = max(last_s, float(rows["time"].max()))
        state.add(rows)
        unhealthy.add(rows)
        for term in terms:
            term.add(rows)
    for rows in collection.batches():
        for term in terms:
            term.count(rows)
    return RowCoverage(
        rows=len(collection),
        different=len(np.unique(np.array(hashes))),
        span_s=last_s - first_s,
        still=state.share("still"),
        turning_rad_s=state.turning_rad_s,
        tilted=state.share("tilted"),
        outside=state.share("outside"),
        far=unhealthy.share,
        far_values=unhealthy.by_value(terms),
        commands=state.commands,
        directions=tuple(state.directions()),
        terms=tuple(term.found() for term in terms),
        motion=motion,
    )


def _hashes(rows: Records, contract: JointContract) -> Iterator[int]:
    """Yield a 64-bit hash of each row's inputs."""
    inputs = [
        np.ascontiguousarray(rows["tensors"][name]).reshape(len(rows), -1)
        for name in contract.model.inputs
    ]
    for row in range(len(rows)):
        content = b"".join(part[row].tobytes() for part in inputs)
        yield int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class _State:
    """Collects statistics of the robot's state."""

    def __init__(self, bundle: JointBundle, sensed: Sequence[str]) -> None:
        self._fields, self._contract = Fields(bundle, sensed), bundle.contract
        joints = bundle.contract.joints
        low, high = joints.position_min, joints.position_max
        wheels = high - low >= 2.0 * np.pi
        self._low = np.where(wheels, -np.inf, low - JOINT_SLACK_RAD)
        self._high = np.where(wheels, np.inf, high + JOINT_SLACK_RAD)
        self._seen, self._of = dict[str, int](), dict[str, int]()
        self._square, self._moving = 0.0, 0
        self._commands = set[tuple[float, ...]]()
        trained = bundle.contract.velocity_command
        self._trained = (
            np.zeros((2, 3))
            if trained is None
            else np.array([trained.max, np.negative(trained.min)])
        )
        self._reached, self._pushed = np.zeros((2, 3)), np.zeros((2, 3), np.int64)

    def add(self, rows: Records) -> None:
        fields = self._fields.of(rows)
        if (joint_vel := fields.get("joint_vel")) is not None:
            still = (np.abs(joint_vel) < _STILL_RAD_S).all(axis=1)
            self._count("still", still)
            if (turning := fields.get("ang_vel_body")) is not None:
                self._square += float(np.square(turning[~still]).sum())
                self._moving += int((~still).sum())
        if (joint_pos := fields.get("joint_pos")) is not None:
            outside = (joint_pos < self._low) | (joint_pos > self._high)
            self._count("outside", outside.any(axis=1))
        limit_rad, gravity = self._contract.safety.max_tilt_rad, fields.get("gravity_body")
        if gravity is not None and limit_rad is not None:
            length = np.maximum(np.linalg.norm(gravity, axis=1), np.finfo(np.float64).tiny)
            self._count("tilted", -gravity[:, 2] / length < np.cos(limit_rad))
        if (command := fields.get("velocity_command")) is not None:
            self._count("commanded", np.ones(len(rows), bool))
            if len(self._commands) < MOST_COMMANDS:
                self._commands |= set(map(tuple, command.round(2).tolist()))
            for way, signed in enumerate((command, -command)):
                self._reached[way] = np.maximum(self._reached[way], signed.max(axis=0))
                self._pushed[way] += (signed > PUSHED * self._trained[way]).sum(axis=0)

    def _count(self, name: str, found: npt.ArrayLike) -> None:
        rows = np.asarray(found)
        self._seen[name] = self._seen.get(name, 0) + int(rows.sum())
        self._of[name] = self._of.get(name, 0) + len(rows)

    def share(self, name: str) -> float | None:
        return self._seen[name] / self._of[name] if name in self._of else None

    @property
    def turning_rad_s(self) -> float | None:
        return float(np.sqrt(self._square / self._moving)) if self._moving else None

    @property
    def commands(self) -> int | None:
        commanded = self._trained.any() and "commanded" in self._of
        return min(len(self._commands), MOST_COMMANDS) if commanded else None

    def directions(self) -> Iterator[Direction]:
        for axis, (*ways, unit) in enumerate(_WAYS):
            for way, words in enumerate(ways):
                trained = float(self._trained[way, axis])
                if trained > 0.0 and "commanded" in self._of:
                    yield Direction(
                        words=words,
                        unit=unit,
                        trained=trained,
                        reached=max(0.0, float(self._reached[way, axis])),
                        share=float(self._pushed[way, axis]) / self._of["commanded"],
                    )


class _Unhealthy:
    """Counts values far outside those of the bundle's nominal run."""

    def __init__(self, contract: JointContract) -> None:
        healthy = contract.nominal.observation if contract.nominal else {}
        self._bounds = {name: far_bounds(statistics) for name, statistics in healthy.items()}
        self._beyond = {
            name: np.zeros(len(low), np.int64) for name, (low, _) in self._bounds.items()
        }
        self._rows, self._of = 0, 0

    def add(self, rows: Records) -> None:
        beyond = np.zeros(len(rows), bool)
        for name, (low, high) in self._bounds.items():
            flat = rows["tensors"][name].reshape(len(rows), -1)
            far = (flat < low) | (flat > high)
            self._beyond[name] += far.sum(axis=0)
            beyond |= far.any(axis=1)
        self._rows, self._of = self._rows + int(beyond.sum()), self._of + len(rows)

    @property
    def share(self) -> float | None:
        return self._rows / self._of if self._bounds else None

    def by_value(self, terms: list[_Term]) -> dict[str, float]:
        found = {
            f"{term.columns.name} {name}": count / self._of
            for term in terms
            if term.input in self._beyond
            for name, count in zip(
                term.names, self._beyond[term.input][term.columns.where], strict=True
            )
            if count
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))


class _Term:
    """Collects ranges, then histograms, of a term."""

    def __init__(self, contract: JointContract, name: str, columns: TermColumns) -> None:
        self.input, self.columns = name, columns
        size = len(columns.names)
        axes = _AXES.get(columns.term.term, ("x", "y", "z", "w"))
        self.names = (
            columns.names
            if columns.spec.size in ("joints", "actions")
            else tuple(map(str, range(size)))
            if size > len(axes)
            else axes[:size]
        )
        if columns.term.parts or columns.term.offsets:
            self.names = tuple(name.partition("[")[2].rstrip("]") for name in columns.names)
        self._low, self._high = np.full(size, np.inf), np.full(size, -np.inf)
        self._sum, self._squares, self._rows = np.zeros(size), np.zeros(size), 0
        self._histogram = np.zeros((size, _BINS), np.int64)
        statistics = contract.nominal.observation.get(name) if contract.nominal else None
        self._healthy = (
            None
            if statistics is None
            else HealthyValues(
                *(
                    np.array(getattr(statistics, key))[columns.where]
                    for key in ("min", "max", "mean", "std")
                )
            )
        )

    def _values(self, rows: Records) -> F64:
        flat = rows["tensors"][self.input].reshape(len(rows), -1)
        return np.asarray(flat[:, self.columns.where], np.float64)

    def add(self, rows: Records) -> None:
        values = self._values(rows)
        self._low = np.minimum(self._low, values.min(axis=0))
        self._high = np.maximum(self._high, values.max(axis=0))
        self._sum += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        self._rows += len(rows)

    @property
    def _ends(self) -> tuple[F64, F64]:
        if self._healthy is None:
            return self._low, self._high
        return (
            np.minimum(self._low, self._healthy.lowest),
            np.maximum(self._high, self._healthy.highest),
        )

    def count(self, rows: Records) -> None:
        low, high = self._ends
        values = self._values(rows)
        places = (values - low) / np.where(high > low, high - low, 1.0) * _BINS
        places = np.minimum(places.astype(np.int64), _BINS - 1)
        for column, histogram in enumerate(self._histogram):
            histogram += np.bincount(places[:, column], minlength=_BINS)

    def found(self) -> TermCoverage:
        mean = self._sum / self._rows
        floor, ceiling = self._ends
        return TermCoverage(
            input=self.input,
            name=self.columns.name,
            field=self.columns.spec.field,
            names=self.names,
            lowest=self._low,
            highest=self._high,
            mean=mean,
            std=np.sqrt(np.maximum(self._squares / self._rows - np.square(mean), 0.0)),
            floor=floor,
            ceiling=ceiling,
            histogram=self._histogram,
            healthy=self._healthy,
        )
