# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What can be set of this back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy_inference.errors import BackendError

OPTIONS: Mapping[str, str] = {
    "build": "yes or no (default): whether an engine that is not in the cache may be built when "
    "the model is opened, which takes from seconds to minutes",
    "workspace_mib": "memory that layers may use while they run, MiB; TensorRT's own limit if "
    "absent",
    "cuda_graph": "yes, no or auto (default): whether a run is one recorded CUDA graph; auto runs "
    "without where it cannot be recorded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options, read."""

    build: bool
    workspace_mib: int | None
    cuda_graph: str

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Settings:
        """Read the texts.

        Raises:
            BackendError: One of them is none of its values.
        """
        workspace = given.get("workspace_mib")
        if workspace is not None and not (
            workspace.isascii() and workspace.isdigit() and 0 < int(workspace) < 1 << 40
        ):
            raise BackendError(
                "tensorrt: option workspace_mib: expected a whole number of MiB "
                f"above 0, found {workspace!r}"
            )
        return cls(
            build=_choice(given, "build", ("no", "yes")) == "yes",
            workspace_mib=None if workspace is None else int(workspace),
            cuda_graph=_choice(given, "cuda_graph", ("auto", "yes", "no")),
        )


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return a value among `choices`, the first of which is the default."""
    value = given.get(name, choices[0])
    if value not in choices:
        raise BackendError(
            f"tensorrt: option {name}: expected {', '.join(choices[:-1])} or "
            f"{choices[-1]}, found {value!r}"
        )
    return value
