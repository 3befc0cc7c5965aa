# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Back ends by name, found through the entry points in the `policy_inference.backends` group."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import Bundle, JointBundle, ModelFiles, is_onnx
from policy_core.bundle.contract import Artifact
from policy_core.bundle.verified import verified, verified_copy
from policy_core.errors import BackendError, PolicyError
from policy_core.interfaces import TensorSpec
from policy_core.onnx_file import LARGEST_BYTES, require_declared
from policy_core.safe_files import read_at_most
from policy_inference.backends.base import ANSWER_WITHIN_S, THIS_MACHINE, BackendBase
from policy_inference.processes import PrivateFolder


class OpenedModels(dict[str, BackendBase]):
    """Models opened together on one back end, by contract key.

    Attributes:
        skipped: Reason why each earlier back end in the list failed to open.
    """

    def __init__(self, backends: Mapping[str, BackendBase], skipped: Sequence[str]) -> None:
        super().__init__(backends)
        self.skipped = tuple(skipped)

    def __enter__(self) -> OpenedModels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def first(self) -> BackendBase:
        """The first model; all other models use the same runtime and device."""
        return next(iter(self.values()))

    @property
    def name(self) -> str:
        return self.first.name

    @property
    def runs_on(self) -> str:
        """Runtime, device and precision as the back end reports them."""
        return "; ".join(
            dict.fromkeys(", ".join(backend.details.values()) for backend in self.values())
        )

    @property
    def problem(self) -> str:
        """Reason why runs can no longer succeed; "" if they can."""
        return next(filter(None, (backend.problem() for backend in self.values())), "")

    def warm_up(self) -> None:
        """Run each model until run times are steady; see `BackendBase.warm_up`.

        Raises:
            BackendError: A runtime failed; all models are then closed.
        """
        try:
            for backend in self.values():
                backend.warm_up()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for backend in self.values():
            backend.close()


GROUP = "policy_inference.backends"
_log = logging.getLogger("policy_inference")
Options = Mapping[str, Mapping[str, str]]


def available() -> dict[str, EntryPoint]:
    """Return the registered back ends by name.

    Raises:
        BackendError: Two installed packages register the same name.
    """
    return registered(GROUP, "backend", BackendError)


def parse_options(texts: Iterable[str]) -> Options:
    """Parse options such as `rknn.core_mask=0_1` (`BACKEND.OPTION=VALUE`); return them by back end.

    Raises:
        BackendError: A text does not have this form.
    """
    options = dict[str, dict[str, str]]()
    for text in texts:
        name, equals, value = text.partition("=")
        backend, dot, option = name.partition(".")
        if not (equals and dot and backend and option):
            raise BackendError(
                "back end options: expected BACKEND.OPTION=VALUE (such as "
                f"rknn.core_mask=0_1), found {text!r}"
            )
        options.setdefault(backend, {})[option] = value
    return options


def open_backend(
    bundle: JointBundle,
    names: Sequence[str],
    options: Options | None = None,
    *,
    run_timeout_s: float = ANSWER_WITHIN_S,
) -> tuple[BackendBase, tuple[str, ...]]:
    """Open a joint policy's model with the first working back end in the list.

    Arguments and errors are the same as for `open_models`.

    Returns:
        The back end, and the reason why each earlier back end in the list failed to open.
    """
    opened = open_models(bundle.models, names, options, run_timeout_s=run_timeout_s)
    return opened.first, opened.skipped


def open_models(
    models: Sequence[ModelFiles],
    names: Sequence[str],
    options: Options | None = None,
    *,
    run_timeout_s: float = ANSWER_WITHIN_S,
    deadline_s: float = ANSWER_WITHIN_S,
) -> OpenedModels:
    """Open models with the first back end in the list that can open all of them.

    Args:
        models: A bundle's models (`Bundle.models`), or other models to open together.
        names: Names of back ends, preferred one first.
        options: Option values, by back end.
        run_timeout_s: Time limit for a run in another process.
        deadline_s: Time after which a result from another machine is useless.

    Raises:
        BackendError: No back end can open the models (the message contains a line for each back
            end), or an option is wrong.
        BundleError: A model file is missing or has a wrong hash.
    """
    known, reasons, options = _known(models, names), list[str](), options or {}
    limits_s = {"run_timeout_s": run_timeout_s, "deadline_s": deadline_s}
    others = ", ".join(sorted(set(options) - set(names)))
    if others:
        raise BackendError(
            f"expected options only for the back ends to open ({', '.join(names)}), found options "
            f"for {others}"
        )
    _check_options(known, options)
    for name in names:
        try:
            opened = _open_all(models, known[name], options.get(name, {}), limits_s)
        except BackendError as error:
            if len(names) == 1:
                raise
            reasons += f"{name}: {error}".split("\n")
        else:
            return OpenedModels(opened, reasons)
    raise BackendError("none of the listed back ends can be opened:", *reasons)


def read_tensors(name: str, file: Path) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
    """Return the inputs and outputs in a back end's file, without a contract; -1 for dynamic axes.

    Raises:
        BackendError: The back end is not installed or cannot read tensors, or the file is not a
            model.
    """
    known = available()
    if name not in known:
        raise BackendError(f"expected an installed back end ({', '.join(known)}), found {name!r}")
    cls: type[BackendBase] = loaded(known[name], BackendError)
    if cls.builds_from in known and file.suffix == f".{cls.builds_from}":
        cls = loaded(known[cls.builds_from], BackendError)
    return cls.tensors(file)


def artifacts_for(bundle: Bundle, name: str) -> dict[str, tuple[Artifact, Path]]:
    """Return the verified files that a back end opens from a bundle; see `find_artifacts`.

    Raises:
        BackendError: The back end is not installed, or the bundle has no file for it.
        BundleError: The file is missing or has a wrong hash.
    """
    return find_artifacts(bundle, name, loaded(_known(bundle.models, [name])[name], BackendError))


def find_artifacts(
    bundle: Bundle, name: str, cls: type[BackendBase]
) -> dict[str, tuple[Artifact, Path]]:
    """Return, for each model, the verified file that a class opens: artifact or build source.

    The keys are the contract's model keys. For a build source, the precision is that of the built
    model.

    Raises:
        BackendError: The bundle has no file for a model.
        BundleError: The file is missing or has a wrong hash.
    """
    entries = [(model, _entry(model, name, cls)) for model in bundle.models]
    return {model.key: (entry, verified(model.folder, entry)) for model, entry in entries}


def _entry(model: ModelFiles, name: str, cls: type[BackendBase]) -> Artifact:
    if name in model.model.artifacts or not cls.builds_from:
        return model.entry(name)
    entry = model.entry(cls.builds_from)
    return dataclasses.replace(entry, precision=cls.built_precision or entry.precision)


def _known(models: Sequence[ModelFiles], names: Sequence[str]) -> dict[str, EntryPoint]:
    """Return the registered back ends, which must include all of `names`."""
    known = available()
    unknown = ", ".join(repr(name) for name in names if name not in known)
    if unknown or not names:
        installed = ", ".join(known) or "none; build and source the workspace"
        raise BackendError(
            f"expected names of installed back ends ({installed}), "
            f"found {unknown or 'nothing'}; the bundle {models[0].folder} has "
            f"artifacts for {', '.join(models[0].model.artifacts)}"
        )
    return known


def _check_options(known: Mapping[str, EntryPoint], options: Options) -> None:
    """Check all back ends' options before opening any, since a typo must not cause a fallback."""
    for name, given in options.items():
        try:
            cls: type[BackendBase] = loaded(known[name], BackendError)
        except BackendError:
            continue  # reported when it is opened
        cls.check_options(given)


def _open_all(
    models: Sequence[ModelFiles],
    entry: EntryPoint,
    options: Mapping[str, str],
    limits_s: Mapping[str, float],
) -> dict[str, BackendBase]:
    opened = dict[str, BackendBase]()
    try:
        for model in models:
            opened[model.key] = _open(model, entry, options, **limits_s)
    except BaseException:
        for backend in opened.values():
            backend.close()
        raise
    return opened


def _open(
    model: ModelFiles,
    entry: EntryPoint,
    options: Mapping[str, str],
    *,
    run_timeout_s: float,
    deadline_s: float,
) -> BackendBase:
    cls: type[BackendBase] = loaded(entry, BackendError)
    artifact = _entry(model, entry.name, cls)
    file = model.folder / artifact.file
    for caution in cls.cautions(THIS_MACHINE, artifact):
        _log.warning("%s: %s; %s", entry.name, caution.found, caution.remedy)
    with _private_folder(file) as folder:
        # The hashed bytes are opened, even if a program writes to the bundle meanwhile.
        content = verified_copy(model.folder, artifact, folder.path)
        if is_onnx(entry.name, artifact):
            require_declared(file, read_at_most(content, LARGEST_BYTES), artifact.control_flow)
        cls = cls.for_file(file, options)
        apart = cls.holds_gil or cls.ends_process or cls.interpreter() != sys.executable
        opened: Callable[..., BackendBase] = cls
        if apart:
            from policy_inference.backends.child import ChildBackend

            opened = partial(ChildBackend, cls, run_timeout_s=run_timeout_s)
        elif cls.is_remote:
            opened = partial(cls, deadline_s=deadline_s)
        return opened(
            file,
            model.model.input_specs,
            model.model.output_specs,
            precision=artifact.precision,
            target=artifact.target,
            options=options,
            content=content,
        )


def _private_folder(file: Path) -> PrivateFolder:
    try:
        return PrivateFolder()
    except OSError as error:
        raise BackendError(
            f"{file}: expected a temporary folder for a copy, found: {error}; choose one with "
            "TMPDIR"
        ) from error


def registered(group: str, kind: str, error: type[PolicyError]) -> dict[str, metadata.EntryPoint]:
    """Return the entry points of a group by name.

    Args:
        group: Group name.
        kind: Term that messages use for an entry point.
        error: Type of error to raise.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        known = found.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise error(
                f"{kind} {entry.name!r} is registered twice, by {_package(known)} and by "
                f"{_package(entry)}; uninstall one of the packages"
            )
    return found


def loaded(entry: metadata.EntryPoint, error: type[PolicyError]) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as cause:  # a module of another package may raise anything
        what = f"{type(cause).__name__}: {cause}"
        raise error(
            f"{_package(entry)} does not load: {what}; install a compatible version of the package"
        ) from cause


def _package(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'a package'} ({entry.value})"
