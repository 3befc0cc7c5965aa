# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `doctor` at work: examines this machine, prints the findings and writes them."""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import Artifact
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError, BundleError, PolicyError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import NOT_EXAMINED, artifacts_of, available, examined
from policy_inference.commands.output import refuse_unwritable, sendable, write_new
from policy_inference.entry_points import loaded
from policy_inference.machine.finding import Finding, Severity
from policy_inference.machine.machine import Machine, installed_version
from policy_inference.machine.middleware import examine_ros
from policy_inference.machine.system import examine_system
from policy_store.command_line import CommandResult

SCHEMA_VERSION = 1
CAN_RUN, CANNOT_RUN = "can run", "cannot run"
RESULTS = (CAN_RUN, CANNOT_RUN, NOT_EXAMINED)


def examine(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Examine and write; the status is 0 where a back end can run.

    Raises:
        PolicyError: A back end or the bundle is not known, or the file is there already.
        OSError: The file cannot be written.
    """
    if given.output:
        refuse_unwritable(given.output, given.force)
    bundle = load_bundle(given.bundle) if given.bundle else None
    known = available()
    names = _names(given.backend, bundle, known)
    machine = Machine()
    groups = {
        "system": list(examine_system(machine)),
        "ROS": list(examine_ros(machine, os.environ)),
        **{name: examine_backend(machine, known[name], bundle) for name in names},
    }
    results = {
        result: [name for name in names if _result(groups[name]) == result] for result in RESULTS
    }
    document: dict[str, Any] = sendable(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "doctor",
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "policy_inference": installed_version("policy_inference"),
            "asked": given.backend,
            **{word.replace(" ", "_"): of for word, of in results.items()},
            "bundle": bundle and _about(bundle),
            "findings": {name: _plain(findings) for name, findings in groups.items()},
        }
    )
    error: PolicyError | OSError | None = None
    try:
        if given.output:
            write_new(given.output, document, given.force)
    except (PolicyError, OSError) as failed:
        error = failed
    return CommandResult(
        document=document,
        text=[table(groups), _last_line(results)],
        status=0 if results[CAN_RUN] else 1,
        error=error,
    )


def examine_backend(machine: Machine, entry: EntryPoint, bundle: Bundle | None) -> list[Finding]:
    """Return what the examination of a back end on this machine found.

    Args:
        machine: This one.
        entry: A registered back end.
        bundle: What it would run, if that is known.
    """
    try:
        cls: type[BackendBase] = loaded(entry, BackendError)
    except BackendError as error:
        return [Finding.error("package", str(error), "see the message")]
    findings, artifacts = list[Finding](), list[Artifact]()
    if bundle is not None:
        try:
            for artifact, file in artifacts_of(bundle, entry.name, cls).values():
                findings.append(Finding(name="bundle", found=_of(bundle, artifact, file)))
                artifacts.append(artifact)
        except BundleError as error:  # the same for each back end that uses the file
            published = any(
                artifact.url
                for model in bundle.models
                for artifact in model.model.artifacts.values()
            )
            remedy = (
                "with the published file, `model_tools complete BUNDLE --model FILE --output "
                "OTHER` makes a whole bundle"
                if published
                else "copy the bundle again"
            )
            findings.append(Finding.error("bundle", str(error), remedy))
        except BackendError as error:
            findings.append(
                Finding.error(
                    "bundle",
                    str(error),
                    f"model_tools compile {_compiler(entry.name)} makes a bundle that has one",
                )
            )
    # The same finding for several graphs is listed once.
    known: list[Artifact | None] = [*artifacts] or [None]
    here = [one for artifact in known for one in examined(cls, machine, artifact)]
    return [*findings, *dict.fromkeys(here)]


def _names(asked: str | None, bundle: Bundle | None, known: Mapping[str, EntryPoint]) -> list[str]:
    """Return which back ends to look at: those asked for, else the bundle's, else all."""
    if asked is None and bundle is None:
        return list(known)
    if asked is None and bundle is not None:
        artifacts = bundle.models[0].model.artifacts
        return [
            name
            for name, entry in known.items()
            if name in artifacts or _builds_from(entry) in artifacts
        ]
    names = [name.strip() for name in (asked or "").split(",") if name.strip()]
    unknown = ", ".join(repr(name) for name in names if name not in known)
    if unknown or not names:
        raise BackendError(
            f"--backend: expected names of installed back ends ({', '.join(known)}),"
            f" found {unknown or 'nothing'}"
        )
    return names


def _builds_from(entry: EntryPoint) -> str | None:
    """Return whose artifact a back end builds its own model from; None also if it does not load."""
    cls = _class(entry)
    return cls.builds_from if cls else None


def _compiler(name: str) -> str:
    """Return the compiler that makes a back end's models: a simulator's are those of its device."""
    return next(
        (
            entry.name
            for entry in available().values()
            if (cls := _class(entry)) is not None and cls.simulated_by == name
        ),
        name,
    )


def _class(entry: EntryPoint) -> type[BackendBase] | None:
    """Return the class of a back end; None if it does not load."""
    try:
        cls: type[BackendBase] = loaded(entry, BackendError)
    except BackendError:
        return None
    return cls


def _of(bundle: Bundle, artifact: Artifact, file: Path) -> str:
    """Return what a back end opens: `lite3_walk 0.2.1: policy.onnx, fp32, runs in fp16`."""
    contract = bundle.contract
    stored = next(
        entry.precision
        for model in bundle.models
        for entry in model.model.artifacts.values()
        if entry.file == artifact.file
    )
    integers = f" with {artifact.integers} integers" if artifact.integers else ""
    runs = "" if artifact.precision == stored else f", runs in {artifact.precision}"
    made = f", made by {artifact.tool}" if artifact.tool else ""
    target = f" for {artifact.target}" if artifact.target else ""
    return (
        f"{contract.name} {contract.version}: {file.name}, {stored}{integers}{target}{runs}{made}"
    )


def _result(findings: Sequence[Finding]) -> str:
    """Return one of `RESULTS`."""
    if any(finding.severity is Severity.ERROR for finding in findings):
        return CANNOT_RUN
    return NOT_EXAMINED if any(one.name == NOT_EXAMINED for one in findings) else CAN_RUN


def _last_line(results: Mapping[str, Sequence[str]]) -> str:
    line = "; ".join(f"{word}: {', '.join(names)}" for word, names in results.items() if names)
    return line or f"{CANNOT_RUN}: no back end is registered for this bundle"


def _about(bundle: Bundle) -> dict[str, str]:
    return {
        "name": bundle.contract.name,
        "version": bundle.contract.version,
        "sha256": bundle.sha256,
    }


def _plain(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{**asdict(finding), "severity": finding.severity.value} for finding in findings]


_MARKS = {Severity.OK: "ok", Severity.WARNING: "warning", Severity.ERROR: "ERROR"}
_NARROWEST, _USUAL = 40, 120


def table(groups: Mapping[str, Sequence[Finding]]) -> str:
    """Return a heading for each group, a line for each finding, and its remedy below."""
    names = [finding.name for findings in groups.values() for finding in findings]
    width = max(map(len, names), default=0)
    return "\n".join(
        line for group, findings in groups.items() for line in (group, *_lines(findings, width), "")
    )


def _lines(findings: Sequence[Finding], width: int) -> Iterator[str]:
    for finding in findings:
        start = f"  {_MARKS[finding.severity]:<8} {finding.name:<{width}}  "
        yield from _wrapped(start, finding.found)
        if finding.remedy:
            yield from _wrapped(" " * (len(start) - 3) + "-> ", finding.remedy)


def _wrapped(start: str, text: str) -> list[str]:
    """Return lines that all begin where the first does; words, such as paths, stay whole."""
    columns = max(shutil.get_terminal_size((_USUAL, 24)).columns, len(start) + _NARROWEST)
    return textwrap.wrap(
        " ".join(text.split()),
        columns,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start]
