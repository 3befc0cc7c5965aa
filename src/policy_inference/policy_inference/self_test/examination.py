# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check what a machine lacks to run policies: the computer, ROS, and the needs of each back end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import AnyBundle, Bundle
from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError, BundleError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.child import check_start
from policy_inference.backends.registry import available, find_artifacts, loaded
from policy_inference.machine.machine import Finding, Machine, Severity
from policy_inference.machine.middleware import examine_ros
from policy_inference.machine.system import describe_system, examine_system
from policy_store.report import Cell, Part, Table, Verdict

SCHEMA_VERSION = 3
NOTHING_MISSING, CANNOT_RUN, NOT_EXAMINED = "nothing missing", "cannot run", "not examined"
"""What an examination can say of a back end; only a run shows that it can run."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examination:
    """Findings made without opening a device or starting ROS.

    Attributes:
        backend: The requested back ends, as written.
        bundle: The bundle to run, if known.
        system: Versions and hardware by name.
        findings: Findings about the computer, ROS and each back end, by name.
        results: Names of the back ends that lack nothing, of those that cannot run, and of those
            that do not state their needs.
    """

    backend: str | None
    bundle: AnyBundle | None
    system: Mapping[str, str | None]
    findings: Mapping[str, Sequence[Finding]]
    results: Mapping[str, Sequence[str]]

    def __bool__(self) -> bool:
        """Return True if at least one back end lacks nothing."""
        return bool(self.results[NOTHING_MISSING])

    def document(self) -> dict[str, Any]:
        contract = self.bundle and self.bundle.contract
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "self_test",
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "backend": self.backend,
            "system": dict(self.system),
            "bundle": self.bundle
            and contract
            and {
                "name": contract.name,
                "version": contract.version,
                "sha256": self.bundle.sha256,
                "rate_hz": contract.rate_hz,
            },
            "findings": {
                group: [{**asdict(one), "severity": one.severity.value} for one in findings]
                for group, findings in self.findings.items()
            },
            **{result.replace(" ", "_"): list(names) for result, names in self.results.items()},
        }

    def text(self) -> Iterator[Part]:
        """Yield a table for each group, and the names of the back ends by result."""
        for group, findings in self.findings.items():
            yield Table(
                title=group,
                header=("result", "what", "found"),
                rows=[row for one in findings for row in _rows(one)],
            )
        shown = (f"{word}: {', '.join(names)}" for word, names in self.results.items() if names)
        yield "; ".join(shown) or f"{CANNOT_RUN}: no back end is registered for this bundle"


def _rows(one: Finding) -> Iterator[tuple[Cell, ...]]:
    is_error = one.severity is Severity.ERROR
    yield Verdict.of(not is_error, one.severity.value, "ERROR"), one.name, one.found
    if one.remedy:
        yield "", "", f"-> {one.remedy}"


def examine(machine: Machine, bundle: AnyBundle | None, backend: str | None) -> Examination:
    """Check what a machine lacks to run policies.

    Args:
        machine: The machine to check.
        bundle: The bundle to run, if known.
        backend: Comma-separated names; None for the back ends with a model in the bundle, or for
            all back ends if there is no bundle.
    """
    known = available()
    backends = {
        name: _examine_backend(machine, known[name], bundle)
        for name in _names(backend, bundle, known)
    }
    results = {result: list[str]() for result in (NOTHING_MISSING, CANNOT_RUN, NOT_EXAMINED)}
    for name, findings in backends.items():
        results[_result(findings)].append(name)
    return Examination(
        backend=backend,
        bundle=bundle,
        system=describe_system(machine),
        findings={
            "system": list(examine_system(machine)),
            "ROS": list(examine_ros(machine, os.environ)),
            **backends,
        },
        results=results,
    )


def _examine_backend(machine: Machine, entry: EntryPoint, bundle: Bundle | None) -> list[Finding]:
    try:
        cls: type[BackendBase] = loaded(entry, BackendError)
    except BackendError as error:
        return [Finding.error("package", str(error), "see the message")]
    findings, artifacts = list[Finding](), list[Artifact]()
    if bundle is not None:
        try:
            for artifact, file in find_artifacts(bundle, entry.name, cls).values():
                findings.append(Finding(name="bundle", found=_describe(bundle, artifact, file)))
                artifacts.append(artifact)
        except BundleError as error:  # the same for each back end that uses the file
            published = any(
                artifact.url
                for model in bundle.models
                for artifact in model.model.artifacts.values()
            )
            remedy = (
                "with the published file, `model_tools complete BUNDLE --model FILE --output "
                "OTHER` makes a complete bundle"
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
    # Equal findings for several graphs are listed once.
    known: list[Artifact | None] = [*artifacts] or [None]
    here = [one for artifact in known for one in _examined(cls, machine, artifact)]
    return [*findings, *dict.fromkeys(here)]


def _examined(
    cls: type[BackendBase], machine: Machine, artifact: Artifact | None
) -> Sequence[Finding]:
    """Return the findings from a back end's own check, or an error if the check failed.

    If a back end has its own Python, also check that its process starts.
    """
    findings = list[Finding]()
    try:
        findings += cls.examine(machine, artifact)
        if not _has_error(findings) and cls.interpreter() != sys.executable:
            check_start(cls)
    except BackendError as error:
        remedy = "install what is missing in that Python, or make its environment again"
        return [*findings, Finding.error("process", str(error), remedy)]
    except Exception as error:  # noqa: BLE001  # of another package; the others are examined
        return [
            Finding.error(
                "examination",
                f"{type(error).__name__}: {error}",
                f"report it to the developers of the back end {cls.name}",
            )
        ]
    return findings or [
        Finding.warning(
            NOT_EXAMINED,
            "this back end does not state what it needs",
            f"`policy_inference self-test BUNDLE --backend {cls.name}` runs it",
        )
    ]


def _names(asked: str | None, bundle: Bundle | None, known: Mapping[str, EntryPoint]) -> list[str]:
    """Return the back ends to check: the requested ones, otherwise the bundle's, otherwise all."""
    if asked is not None:
        names = [name.strip() for name in asked.split(",") if name.strip()]
        unknown = ", ".join(repr(name) for name in names if name not in known)
        if unknown or not names:
            raise BackendError(
                f"--backend: expected names of installed back ends ({', '.join(known)}),"
                f" found {unknown or 'nothing'}"
            )
        return names
    if bundle is None:
        return list(known)
    artifacts = bundle.models[0].model.artifacts
    return [
        name
        for name, entry in known.items()
        if name in artifacts or ((cls := _class(entry)) and cls.builds_from in artifacts)
    ]


def _compiler(name: str) -> str:
    """Return the compiler for a back end's models; for a simulator, its device's compiler."""
    return next(
        (
            entry.name
            for entry in available().values()
            if (cls := _class(entry)) is not None and cls.simulated_by == name
        ),
        name,
    )


def _class(entry: EntryPoint) -> type[BackendBase] | None:
    """Return a back end's class; None if the class cannot be loaded."""
    try:
        cls: type[BackendBase] = loaded(entry, BackendError)
    except BackendError:
        return None
    return cls


def _describe(bundle: Bundle, artifact: Artifact, file: Path) -> str:
    """Describe a back end's file, such as `lite3_walk 0.2.1: policy.onnx, fp32`."""
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


def _has_error(findings: Sequence[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def _result(findings: Sequence[Finding]) -> str:
    if _has_error(findings):
        return CANNOT_RUN
    return NOT_EXAMINED if any(one.name == NOT_EXAMINED for one in findings) else NOTHING_MISSING
