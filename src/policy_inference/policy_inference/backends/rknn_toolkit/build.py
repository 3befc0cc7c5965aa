# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Build a recipe with the toolkit; runs in the toolkit's Python only.

The toolkit reports failures in three ways: it returns -1 and logs the reason, it returns None, or
it raises ValueError with a traceback as the message. All of them are raised as `ToolkitError`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from policy_core.errors import BackendError
from policy_inference.backends.rknn_toolkit.recipe import MODEL, Recipe, read_samples, write_dataset

_DECODER_RULES = [
    "fuse_matmul_softmax_matmul_to_sdpa",
    "fuse_exmatmul_add_mul_exsoftmax13_exmatmul_to_sdpa",
]
_DECODER_BUG = re.compile(r"inputs or 'outputs' must be set|" + "|".join(_DECODER_RULES))
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ToolkitError(BackendError):
    """Error from the toolkit.

    Attributes:
        stage: `import`, `config`, `load_onnx`, `build`, `export_rknn`, `init_runtime`, `inference`
            or `accuracy_analysis`.
        text: The toolkit's message, possibly a traceback.
    """

    def __init__(self, stage: str, text: str) -> None:
        self.stage, self.text = stage, text
        super().__init__(*f"{stage}: {text}".split("\n"))


def toolkit_version() -> str:
    """Return the toolkit's name and version."""
    return f"rknn-toolkit2 {version('rknn-toolkit2')}"


def build(folder: Path, recipe: Recipe) -> Any:
    """Build the model in a recipe's folder.

    An attention rule in toolkit 2.5.0 breaks the cross-attention of decoders; if that happens, the
    model is built again without the rule.

    Returns:
        The toolkit object, which the caller must release.

    Raises:
        ToolkitError: The toolkit is not installed, or refuses the model.
    """
    dataset = None
    if recipe.quantised:
        dataset = write_dataset(folder, read_samples(folder, len(recipe.inputs)))
    try:
        return _built(folder, recipe, dataset, [])
    except ToolkitError as error:
        if error.stage != "build" or not _DECODER_BUG.search(error.text):
            raise
    return _built(folder, recipe, dataset, _DECODER_RULES)


def _built(folder: Path, recipe: Recipe, dataset: Path | None, without: list[str]) -> Any:
    try:
        from rknn.api import RKNN

        toolkit = RKNN(verbose=False)
    except Exception as error:  # whatever its old packages raise
        raise ToolkitError("import", f"{type(error).__name__}: {error}") from error
    try:
        _steps(toolkit, folder, recipe, dataset, without)
    except BaseException:
        toolkit.release()
        raise
    return toolkit


def _steps(
    toolkit: Any, folder: Path, recipe: Recipe, dataset: Path | None, without: list[str]
) -> None:
    settings = dict(recipe.settings)
    if recipe.quantised:
        settings["quantized_dtype"] = recipe.precision
    if without:
        settings["disable_rules"] = without
    call(
        toolkit.config,
        "config",
        target_platform=recipe.target,
        custom_string=recipe.tag,
        **settings,
    )
    call(toolkit.load_onnx, "load_onnx", model=str(folder / MODEL))
    call(
        toolkit.build,
        "build",
        do_quantization=recipe.quantised,
        dataset=str(dataset) if dataset else None,
        auto_hybrid=recipe.hybrid,
    )


def call(method: Callable[..., Any], stage: str, *args: Any, **given: Any) -> Any:
    """Call a method of the toolkit; any failure is raised as `ToolkitError`.

    Returns:
        The call's result: never -1, and None only for `config`.

    Raises:
        ToolkitError: The call failed; the message gives the reason.
    """
    with _Errors() as said:
        try:
            result = method(*args, **given)
        except Exception as error:  # usually ValueError; its own dependencies raise others
            raise ToolkitError(stage, str(error) or repr(error)) from error
    failed = result is None if stage == "inference" else result not in (None, 0)
    if failed:
        raise ToolkitError(stage, "\n".join(said.lines) or f"it returned {result}")
    return result


class _Errors(logging.Handler):
    """Collects errors from the toolkit's own log within a `with` statement."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines = list[str]()
        self._log = logging.getLogger("rknnLogger")

    def emit(self, record: logging.LogRecord) -> None:
        text = _COLOURS.sub("", record.getMessage()).strip()
        if not text.startswith("rknn-toolkit2 version"):
            self.lines.append(text)

    def __enter__(self) -> _Errors:
        self._log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
