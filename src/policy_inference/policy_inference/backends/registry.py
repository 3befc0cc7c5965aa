# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Backends by name, found through the entry points of the group `policy_inference.backends`."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.load import Bundle
from policy_inference.errors import BackendError

GROUP = "policy_inference.backends"


def available() -> dict[str, EntryPoint]:
    """Return the registered backends by name.

    Raises:
        BackendError: Two installed packages register the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise BackendError(f"backend {entry.name!r} is registered twice, by {_package(known)} "
                               f"and by {_package(entry)}; uninstall one of the packages")
    return found


def open_backend(bundle: Bundle, names: Sequence[str]) -> tuple[BackendBase, tuple[str, ...]]:
    """Open the bundle's model with the first backend of the list that works.

    Returns:
        The backend, and a line for each one before it in the list that says why it did not open.

    Raises:
        BackendError: None of them opens; one line for each says why.
        BundleError: A model file is missing or is not the one the contract means.
    """
    known, reasons = available(), list[str]()
    unknown = ", ".join(repr(name) for name in names if name not in known)
    if unknown or not names:
        installed = ", ".join(known) or "none; build and source the workspace"
        raise BackendError(f"expected names of installed backends ({installed}), "
                           f"found {unknown or 'nothing'}; the bundle {bundle.path} has artifacts "
                           f"for {', '.join(bundle.contract.model.artifacts)}")
    for name in names:
        try:
            return _open(bundle, known[name]), tuple(reasons)
        except BackendError as error:
            if len(names) == 1:
                raise
            reasons.append(f"{name}: {error}")
    raise BackendError("no backend of the list opens:\n" + "\n".join(reasons))


def _open(bundle: Bundle, entry: EntryPoint) -> BackendBase:
    _, file = bundle.artifact(entry.name)
    model, contract = bundle.contract.model, bundle.contract
    try:
        cls: type[BackendBase] = entry.load()
    except (ImportError, AttributeError) as error:
        raise BackendError(f"{_package(entry)} does not load: {error}; "
                           "install a version of the package that fits") from error
    return cls(file, contract.tensor_specs(model.inputs), contract.tensor_specs(model.outputs))


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"
