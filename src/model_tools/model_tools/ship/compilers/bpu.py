# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `bpu` compiler: runs the vendor's tool or, if missing, prepares a workspace for it."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_tools.errors import ToolError, UnfinishedError
from model_tools.files.bpu_files import BUILD_ALL, MARCHES, PRECISIONS, RECORD
from model_tools.files.outputs import new_folder
from model_tools.ship.compilers.bpu_graph import BpuGraph
from model_tools.ship.compilers.bpu_workspace import (
    BUILD_LOG,
    BpuSettings,
    container_command,
    owned,
    record,
    result,
    write_workspace,
)
from model_tools.ship.compilers.compiler import MORE_SAMPLES, CompileOrder, Made
from policy_inference.worker_process import WorkerProcess

_CALIBRATIONS = ("default", "mix", "kl", "max")
_LAST_LINES = 15
_BEGINNING = 4096
_log = logging.getLogger("model_tools")


class BpuCompiler:
    """Compiles models to `.hbm` for nash or `.bin` for bayes, with every node int8 or int16."""

    backend, suffix = "bpu", ".hbm"
    precisions: Mapping[str, bool] = dict.fromkeys(PRECISIONS, True)
    targets: tuple[str, ...] = tuple(MARCHES)
    options: Mapping[str, str] = {
        "workspace": "folder in which the vendor's compiler works; it is kept",
        "compiled": "workspace that was compiled elsewhere, whose result is used",
        "calibration": f"calibration method: {', '.join(_CALIBRATIONS)}",
        "optimize_level": "O0 to O2, for bayes to O3 (default: the highest)",
        "jobs": "processes of the compiler (default 4)",
        "image": "container image of the compiler",
    }
    remedies: Mapping[str, str] = {
        "int8": f"{MORE_SAMPLES}; --option calibration=kl or mix; or compile int16",
        "int16": MORE_SAMPLES,
    }

    def precheck(self, orders: Sequence[CompileOrder]) -> None:
        """Raise if the vendor's tool or its results are needed but missing; needs no samples."""
        order, settings = orders[0], _settings(orders[0])
        if "compiled" in order.options:
            folder = Path(order.options["compiled"])
            _require_same(folder, record([], settings))
            for one in orders:
                _require_compiled(folder, one, settings)
        elif shutil.which(settings.toolchain.tool) is None and "workspace" not in order.options:
            raise ToolError(
                f"bpu: expected {settings.toolchain.tool} on the PATH, or a folder to "
                "prepare its work in (--option workspace=FOLDER), found neither; the "
                f"tool is in the container {_image(order, settings)}"
            )

    def compile(self, order: CompileOrder) -> Made:
        """Compile a policy with a single graph; see `compile_all`."""
        return self.compile_all([order])[0]

    def compile_all(self, orders: Sequence[CompileOrder]) -> list[Made]:
        """Write a workspace of all graphs, and run the vendor's compiler in it."""
        order, graphs = orders[0], [graph_entry(order) for order in orders]
        settings = _settings(order)
        tool = settings.toolchain.tool
        if "compiled" in order.options:
            folder = Path(order.options["compiled"])
            _require_same(folder, record(graphs, settings))
            return [_taken(folder, one, settings, f"{tool}, run elsewhere") for one in orders]
        with _workspace(order, graphs, settings) as folder:
            if shutil.which(tool) is None:
                raise UnfinishedError(*_next_steps(folder, order, settings))
            release = _release(tool)
            _build(folder, tool, kept="workspace" in order.options)
            return [_taken(folder, one, settings, release) for one in orders]


def graph_entry(order: CompileOrder) -> BpuGraph:
    """Return the workspace entry of a graph."""
    assert order.samples is not None
    return BpuGraph(
        name=order.name,
        model=order.model,
        inputs=order.inputs,
        outputs=order.outputs,
        samples=order.samples,
        files=order.sample_files,
    )


def _settings(order: CompileOrder) -> BpuSettings:
    assert order.target is not None
    given, levels = order.options, MARCHES[order.target].levels
    jobs = given.get("jobs", "4")
    for name, value, offered in (
        ("calibration", given.get("calibration", _CALIBRATIONS[0]), _CALIBRATIONS),
        ("optimize_level", given.get("optimize_level", levels[-1]), levels),
        ("jobs", jobs, tuple(map(str, range(1, 65)))),
    ):
        if value not in offered:
            listed = "1 to 64" if name == "jobs" else f"one of {', '.join(offered)}"
            raise ToolError(
                f"bpu: option {name}: expected {listed} for {order.target}, found {value!r}"
            )
    if {"workspace", "compiled"} <= given.keys():
        raise ToolError("bpu: expected only one of the options workspace and compiled, found both")
    return BpuSettings(
        march=order.target,
        precision=order.precision,
        jobs=int(jobs),
        calibration=given.get("calibration", _CALIBRATIONS[0]),
        optimize_level=given.get("optimize_level", levels[-1]),
    )


@contextmanager
def _workspace(
    order: CompileOrder, graphs: Sequence[BpuGraph], settings: BpuSettings
) -> Iterator[Path]:
    """Write a workspace and yield its folder: the user's, or a temporary one."""
    if "workspace" not in order.options:
        with tempfile.TemporaryDirectory(prefix="bpu_workspace.") as scratch:
            write_workspace(Path(scratch), graphs, settings)
            yield Path(scratch)
        return
    folder = Path(order.options["workspace"])
    with new_folder(folder, marker=RECORD, owned=owned(graphs), force=order.force) as growing:
        write_workspace(growing, graphs, settings)
    yield folder


def _build(folder: Path, tool: str, *, kept: bool) -> None:
    log = folder / BUILD_LOG
    _log.info("bpu: %s is working%s ...", tool, f"; its log is {log}" if kept else "")
    with log.open("wb") as file:
        script = WorkerProcess(["bash", str(folder / BUILD_ALL)], output=file)
    if status := script.run_to_end():
        said = log.read_text("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
        more = f"see {folder}" if kept else "--option workspace=FOLDER keeps its files"
        raise ToolError(
            f"bpu: expected {tool} to compile the model, found exit status {status}; {more}; its "
            "output:",
            *said,
        )


def _taken(folder: Path, order: CompileOrder, settings: BpuSettings, tool: str) -> Made:
    made = _require_compiled(folder, order, settings)
    file = order.output.with_suffix(settings.toolchain.suffix)
    shutil.copyfile(made, file)
    assert order.samples is not None
    rows = len(next(iter(order.samples.values())))
    how = (
        f"every node {settings.precision}, {settings.optimize_level}, calibration "
        f"{settings.calibration} over {rows} rows"
    )
    return Made(tool=tool, how=how, file=file)


def _require_compiled(folder: Path, order: CompileOrder, settings: BpuSettings) -> Path:
    """Return a graph's compiled file, checked only roughly since its format is not published."""
    made = result(folder, order.name, settings)
    content = made.read_bytes() if made.is_file() else b""
    if not content:
        raise ToolError(
            f"{made}: expected the output of {settings.toolchain.tool}, found nothing; run "
            f"{container_command(folder, _image(order, settings))}; if it has run already, see "
            f"its logs in {folder / order.name}"
        )
    if content[:_BEGINNING].isascii() and b"\0" not in content[:_BEGINNING]:
        raise ToolError(
            f"{made}: expected a compiled model, found a text file; copy the one that "
            f"{settings.toolchain.tool} made"
        )
    return made


def _release(tool: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:  # the tool may leave logs there
        said = subprocess.run(
            [tool, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=scratch,
            check=False,
        )
    lines = said.stdout.decode("utf-8", "replace").strip().splitlines()
    text = lines[-1].strip() if said.returncode == 0 and lines else "version unknown"
    return text if text.startswith(tool) else f"{tool}, {text}"


def _require_same(folder: Path, wanted: Mapping[str, object]) -> None:
    """Raise unless a workspace was made with these options and, if any are given, these graphs."""
    try:
        found = dict(json.loads((folder / RECORD).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ToolError(
            f"{folder}: expected a workspace, found no readable {RECORD} in it ({error}); "
            f"make one with --option workspace=FOLDER"
        ) from error
    graphs = wanted["graphs"]
    differ = [
        f"{key} {found.get(key)} instead of {value}"
        for key, value in wanted.items()
        if key != "graphs" and found.get(key) != value
    ]
    if graphs and found.get("graphs") != graphs:
        differ.append("a different model or different samples")
    if differ:
        raise ToolError(
            f"{folder / RECORD}: expected a workspace for this model, these samples and these "
            f"options, found {', '.join(differ)}; use the same bundle, --dataset or --rows, "
            "--samples and options as for this workspace, or make a new one with --option "
            "workspace=FOLDER"
        )


def _image(order: CompileOrder, settings: BpuSettings) -> str:
    return order.options.get("image", settings.toolchain.image)


def _next_steps(folder: Path, order: CompileOrder, settings: BpuSettings) -> list[str]:
    return [
        f"bpu: {settings.toolchain.tool} is not on this machine, so there is no bundle yet; its "
        f"workspace is {folder}. Next, on the machine with the container:",
        f"  {container_command(folder, _image(order, settings))}",
        f"and then this command again with --option compiled={folder} instead of "
        "--option workspace=...",
    ]
