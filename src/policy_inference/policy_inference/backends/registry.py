# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Backends by name, found through the entry points of the group `policy_inference.backends`."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.load import Bundle
from policy_inference.entry_points import loaded, registered
from policy_inference.errors import BackendError

GROUP = "policy_inference.backends"


def available() -> dict[str, EntryPoint]:
    """Return the registered backends by name.

    Raises:
        BackendError: Two installed packages register the same name.
    """
    return registered(GROUP, "backend", BackendError)


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
    cls: type[BackendBase] = loaded(entry, BackendError)
    return cls(file, contract.tensor_specs(model.inputs), contract.tensor_specs(model.outputs))
