# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract as tables: fields with key, value and meaning, then values by index."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from model_tools.files.terms import frames, newest_columns
from policy_core.bundle.body import ComparisonLimits, Statistics
from policy_core.bundle.chunk_contract import JointUnit, Scaling
from policy_core.bundle.contract import (
    ActionTerm,
    Artifact,
    ChainLink,
    File,
    JointContract,
    Joints,
    Leg,
    PhaseStand,
    StatePair,
    Tensor,
    Term,
    Via,
)
from policy_core.bundle.height_scan import HeightScan
from policy_core.bundle.schema import PerJoint
from policy_core.interfaces import F64
from policy_store.report import Cell, Table

_HIDDEN = ("schema_version", "sha256", "compiled_from")
_BY_JOINT = {
    field.name: f"{field.name}, {field.metadata['doc'].rpartition(', ')[2]}"
    for field in dataclasses.fields(Joints)
    if field.type in (PerJoint, "PerJoint")
}
"""Column headings, with units, for the fields with values per joint."""


def contract_tables(contract: Any) -> list[Table]:
    """Return all fields, then values by joint; for a joint policy also by output and input."""
    tables = [
        Table(
            title="contract", header=("key", "value", "meaning"), rows=list(_fields("", contract))
        ),
        _joint_table(contract.joints),
    ]
    if contract.kind == "joint":
        tables.append(_action_table(contract))
        if contract.sets_gains:
            tables.append(_gain_table(contract))
        tables += [_observation_table(contract, name) for name in contract.observations]
        tables += [_scan_table(topic, scan) for topic, scan in contract.scans.items()]
    return tables


def _fields(key: str, section: Any) -> Iterator[tuple[str, str, str]]:
    for field in dataclasses.fields(section):
        if field.name not in _HIDDEN and "doc" in field.metadata:
            value = getattr(section, field.name)
            yield from _rows(f"{key}{field.name}", value, field.metadata["doc"])


def _rows(key: str, value: Any, doc: str) -> Iterator[tuple[str, str, str]]:
    if type(value) in _ONE_LINE or not _has_sections(value):
        if text := _text(value):
            yield key, text, doc
    elif isinstance(value, Mapping):
        for name, inside in value.items():
            yield from _rows(f"{key}.{name}", inside, doc)
    elif isinstance(value, tuple):
        for place, inside in enumerate(value):
            yield from _rows(f"{key}[{place}]", inside, doc)
    else:
        yield from _fields(f"{key}.", value)


def _has_sections(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_sections, value.values()))
    return dataclasses.is_dataclass(value) or (
        isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value))
    )


def _stated(section: Any) -> str:
    fields = {
        field.name: _text(getattr(section, field.name))
        for field in dataclasses.fields(section)
        if field.name not in _HIDDEN
    }
    return "; ".join(f"{name} {text}" for name, text in fields.items() if text)


_ONE_LINE: Mapping[type, Callable[[Any], str]] = {
    **dict.fromkeys((ActionTerm, Joints), lambda _: ""),  # shown in their own tables
    **dict.fromkeys((Artifact, ChainLink, ComparisonLimits, PhaseStand, Term), _stated),
    **dict.fromkeys((JointUnit, Scaling, Via), _stated),
    File: lambda file: str(file.file),
    Leg: lambda leg: (
        f"{', '.join(link.joint for link in leg.chain if link.joint)}; points {len(leg.points)}"
    ),
    StatePair: lambda pair: f"{pair.output} -> {pair.input}",
    Statistics: lambda found: f"{len(found.mean)} values",
    Tensor: lambda tensor: f"{tensor.dtype}{list(tensor.shape)}",
}
"""Sections shown on one line."""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if dataclasses.is_dataclass(value):
        return _ONE_LINE.get(type(value), _stated)(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(inside)}" for name, inside in value.items())
    if isinstance(value, np.ndarray):
        return _each(value)
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _each(value: F64) -> str:
    texts = [f"{number:g}" for number in value.ravel()]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _joint_table(joints: Joints) -> Table:
    values = {head: getattr(joints, name).tolist() for name, head in _BY_JOINT.items()}
    on_robot = joints.on_robot()
    names: dict[str, Sequence[Cell]] = {"joint": joints.names}
    if on_robot != joints.names:
        names["on the robot"] = on_robot
    columns = {**names, **values}
    return Table(
        title="joints, index from 0",
        header=("index", *columns),
        rows=[(i, *row) for i, row in enumerate(zip(*columns.values(), strict=True))],
    )


def _action_table(contract: JointContract) -> Table:
    rows = [
        (joint, term.kind, float(offset), float(scale), _clip(term.clip))
        for term in contract.action.terms
        for joint, offset, scale in zip(term.joints, term.offset, term.scale, strict=True)
    ]
    return Table(
        title=f"action {contract.action.output}: target = offset + scale x clip(output)",
        header=("index", "joint", "kind", "offset", "scale", "clip"),
        rows=[(i, *row) for i, row in enumerate(rows)],
    )


def _gain_table(contract: JointContract) -> Table:
    names = [joint for term in contract.action.terms for joint in term.joints]
    return Table(
        title="gains that the model outputs, clipped to these bounds",
        header=("gain", "output", "joint", "min", "max"),
        rows=[
            (name, gain.output, joint, float(low), float(high))
            for name, gain in contract.action.gain_outputs.items()
            for joint, low, high in zip(names, gain.min, gain.max, strict=True)
        ],
    )


def _observation_table(contract: JointContract, name: str) -> Table:
    """Return the columns of each term; if there are several frames, those of the newest frame."""
    observation = contract.observations[name]
    history, layout = observation.history, ""
    if frames(observation) > 1:
        layout = f"; {history.layout}, {history.order}, columns of the newest frame"
    return Table(
        title=f"observation {name}: from:to, to excluded; {observation.order}{layout}",
        header=("columns", "term", "scale", "clip", "frames"),
        rows=[
            (
                f"{found.where.start}:{found.where.stop}",
                found.term.topic or found.name,
                _each(found.term.scale),
                _clip(found.term.clip),
                found.term.history_length or history.length,
            )
            for found in newest_columns(contract, name)
        ],
    )


def _scan_table(topic: str, scan: HeightScan) -> Table:
    """Return the settings of a scan, and its first two points and last point."""
    points = scan.points
    return Table(
        title=f"height scan {topic}: {scan.count} points",
        header=("key", "value", "meaning"),
        rows=[
            *_fields("", scan),
            *(
                (f"point {i}", f"{points[i, 0]:g}, {points[i, 1]:g}", "its x and y, m")
                for i in sorted({0, min(1, scan.count - 1), scan.count - 1})
            ),
        ],
    )


def _clip(clip: Sequence[float] | None) -> str:
    return "none" if clip is None else f"{clip[0]:g} to {clip[1]:g}"
