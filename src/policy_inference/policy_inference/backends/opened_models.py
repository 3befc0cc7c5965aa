# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The models of a policy, open on one back end: what every host holds, warms up and closes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policy_inference.backends.base import BackendBase


class OpenedModels(Mapping[str, BackendBase]):
    """Models that belong together, all open on one back end, by their keys in the contract.

    Attributes:
        skipped: Why each back end before that one in the list did not open.
    """

    def __init__(self, backends: Mapping[str, BackendBase], skipped: Sequence[str]) -> None:
        """Take over models that were opened, one or more."""
        self._backends, self.skipped = dict(backends), tuple(skipped)

    def __getitem__(self, key: str) -> BackendBase:
        """Return the model that has this key in the contract."""
        return self._backends[key]

    def __iter__(self) -> Iterator[str]:
        """Yield the keys, in the contract's order."""
        return iter(self._backends)

    def __len__(self) -> int:
        """Return how many models there are."""
        return len(self._backends)

    def __enter__(self) -> OpenedModels:
        """Return the models, which are closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the models."""
        self.close()

    @property
    def first(self) -> BackendBase:
        """The first model: its runtime and device are those of all."""
        return next(iter(self._backends.values()))

    @property
    def name(self) -> str:
        """Of the back end."""
        return self.first.name

    @property
    def runs_on(self) -> str:
        """Runtime, device and precision as the back end reports them."""
        return "; ".join(
            dict.fromkeys(", ".join(backend.details.values()) for backend in self.values())
        )

    @property
    def problem(self) -> str:
        """Why no run can succeed any more; empty where one can."""
        return next(filter(None, (backend.problem() for backend in self.values())), "")

    def warm_up(self) -> None:
        """Run each model until its runs are as fast as they get, as `BackendBase.warm_up`.

        Raises:
            BackendError: A runtime failed; all models are closed then.
        """
        try:
            for backend in self.values():
                backend.warm_up()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the models."""
        for backend in self.values():
            backend.close()
