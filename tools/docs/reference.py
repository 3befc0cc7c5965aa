# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Generates the reference pages from the code: commands, parameters, messages, metrics, and more.

A command's page is its help text, so that the two cannot differ.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import lerobot_bridge.cli
import model_tools.cli
import policy_inference.commands.main
from lerobot_bridge.checking import EpisodeCheck
from lerobot_bridge.episode import Skipped
from model_tools.prove.identification.identify import Identified
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.set_check import SetTransitionResult
from policy_store.command_line import Verb
from robot_operator.nodes.words import OperatorResult
from tools.docs.metrics import metrics_table

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "policy_inference",
    "policy_store",
    "model_tools",
    "robot_operator",
    "lerobot_bridge",
    "episode_operator",
    "robot_urdf",
    "unitree_emulator",
    "usb_camera",
)
NODES = (
    "joint_policy_node",
    "policy_set_node",
    "act_policy_node",
    "operator_node",
    "jogged_leader",
    "fault_injector",
    "sim_node",
    "arm_sim_node",
    "arm_leader",
    "lite3_emulator",
    "so101_emulator",
    "lite3_driver",
    "go2_driver",
    "g1_driver",
    "h1_driver",
    "h1_2_driver",
    "lerobot_arm_driver",
    "episode_recorder",
    "robot_metrics",
)
MODULES = (
    "policy_core.bundle.load",
    "policy_inference.backends.base",
    "policy_inference.backends.registry",
    "policy_inference.testing",
    "robot_driver.interfaces",
    "robot_driver.robot",
    "robot_driver.testing",
    "robot_sim.world",
)
"""Interfaces for users of a bundle, a custom back end or driver, or a simulation."""
VERBS: Mapping[str, Mapping[str, Verb]] = {
    "policy_inference": policy_inference.commands.main.COMMANDS,
    "model_tools": model_tools.cli.COMMANDS,
    "lerobot_bridge": lerobot_bridge.cli.COMMANDS,
}
_ATTRIBUTE = re.compile(r"^    ([\w, ]+): (.*(?:\n        .*)*)", re.MULTILINE)
_TYPES_OF_RESULTS = {
    one.__name__: one
    for one in (EpisodeCheck, Identified, InspectionReport, SetTransitionResult, Skipped)
}
"""Result types that a verb imports only for mypy, to keep `--help` fast."""
_LONGEST_S = 60.0
# ROS 2 from wheels prepares each Python once; the mark of one Python is not valid for another
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("_ROS_WHEELS")},
    "COLUMNS": "90",
    "NO_COLOR": "1",
}


def write_reference(folder: Path) -> None:
    folder.mkdir()
    pages = {
        "commands": ("Commands", _commands()),
        "parameters": ("Nodes and their parameters", _nodes()),
        "messages": ("Messages and services", _messages()),
        "metrics": ("Metrics of a robot", _metrics()),
        "schemas": ("Files in YAML", _schemas()),
        "python": ("Python", _modules()),
    }
    for name, (title, parts) in pages.items():
        text = "\n".join([f"# {title}\n", *parts])
        (folder / f"{name}.md").write_text(text, "utf-8")


def _commands() -> Iterator[str]:
    yield (
        "An option is written out; an abbreviation is refused. `--version` prints the version.\n"
        "Results go to standard output; progress, warnings and errors to standard error. Exit\n"
        "status: 0 done; 1 a verdict that failed; 2 invalid arguments; 3 prepared for another\n"
        "machine; 4 an error; 130 and 143 after Ctrl-C and SIGTERM.\n\n"
        "With `--json` the only output is one JSON document, whose keys are listed below each\n"
        "verb;\n"
        "null is not known or not measured. A verdict that failed prints it too. After an error\n"
        "without a result nothing is printed: see the exit status. A verb without `--json` runs\n"
        "until it is stopped.\n"
    )
    for command in COMMANDS:
        text = read_help(command)
        yield f"## {command}\n\n{_block(text)}"
        for verb, does in VERBS.get(command, {}).items():
            yield f"### {command} {verb}\n\n{_block(read_help(command, *verb.split()))}"
            yield from _document(does)
        if command == "robot_operator":
            yield from _list_keys(OperatorResult)


def _document(does: Verb) -> Iterator[str]:
    """Yield the description of a verb's `--json` output, from the return type of its `run`."""
    run = does.run
    known = {**vars(sys.modules[run.__module__]), **_TYPES_OF_RESULTS}
    result = get_type_hints(getattr(run, "__func__", run), known)["return"]
    if result is int:
        return
    [document] = get_args(result)
    for each in get_args(document) if get_origin(document) is UnionType else [document]:
        if dataclasses.is_dataclass(each):
            yield from _list_keys(each)
        else:
            returned = (inspect.getdoc(run) or "").partition("Returns:")[2].split()
            yield f"With `--json`: {' '.join(returned)}\n"


def _list_keys(document: Any) -> Iterator[str]:
    about = (inspect.getdoc(document) or "").splitlines()[0].rstrip(".")
    yield f"With `--json`: {about[0].lower()}{about[1:]}.\n"
    yield "| key | type | |\n| --- | --- | --- |"
    yield "\n".join(_list_rows(document, "")) + "\n"


def _list_rows(document: Any, path: str) -> Iterator[str]:
    texts = {
        name.strip(): " ".join(text.split())
        for names, text in _ATTRIBUTE.findall(inspect.getdoc(document) or "")
        for name in names.split(",")
    }
    types = get_type_hints(
        document, {**vars(sys.modules[document.__module__]), **_TYPES_OF_RESULTS}
    )
    for field in dataclasses.fields(document):
        kind, inner, suffix = _json_type(types[field.name])
        about = texts.get(field.name, "").replace("|", "\\|")
        yield f"| `{path}{field.name}` | {kind} | {about} |"
        if inner is not None:
            yield from _list_rows(inner, f"{path}{field.name}{suffix}.")


def _json_type(found: Any) -> tuple[str, Any, str]:
    """Return a type in words, the dataclass in it, if any, and the suffix for the key."""
    if get_origin(found) is UnionType:
        kinds = [_json_type(each) for each in get_args(found)]
        inner, suffix = next(((of, end) for _, of, end in kinds if of is not None), (None, ""))
        return " or ".join(kind for kind, _, _ in kinds), inner, suffix
    if dataclasses.is_dataclass(found):
        return "object", found, ""
    origin, arguments = get_origin(found) or found, get_args(found)
    if origin in (list, Sequence, tuple):
        kind, inner, suffix = _json_type(arguments[0]) if arguments else ("value", None, "")
        return f"array of {kind}", inner, f"[]{suffix}"
    if origin in (dict, Mapping):
        _, inner, suffix = _json_type(arguments[1])
        return "object", inner, f".NAME{suffix}"
    return _JSON_TYPES.get(origin, "value"), None, ""


_JSON_TYPES = {
    str: "string",
    Path: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _nodes() -> Iterator[str]:
    yield "Set one with `--ros-args -p NAME:=VALUE`, or in a file ([launch](../launch.md)).\n"
    for node in NODES:
        yield f"## {node}\n\n{_block(read_help(node))}"


def _messages() -> Iterator[str]:
    for kind in ("msg", "srv"):
        for file in sorted((ROOT / "src" / "policy_msgs" / kind).iterdir()):
            lines = file.read_text("utf-8").splitlines()
            text = "\n".join(line for line in lines if not line.startswith("# SPDX"))
            yield f"## policy_msgs/{kind}/{file.stem}\n\n{_block(text.strip())}"


def _metrics() -> Iterator[str]:
    yield "All names begin with `policy_inference_` ([metrics](../fleet.md#metrics)).\n"
    yield metrics_table()


def _schemas() -> Iterator[str]:
    yield "Each schema is a file in `config/bundles`; an editor completes with it.\n"
    for file in sorted((ROOT / "config" / "bundles").glob("*.schema.json")):
        schema = json.loads(file.read_text("utf-8"))
        yield f"## {file.stem.partition('.')[0]}.yaml\n"
        yield "| key | type | |\n| --- | --- | --- |"
        yield "\n".join(dict.fromkeys(_keys(schema, schema, "", 0))) + "\n"


def _keys(
    schema: Mapping[str, Any], root: Mapping[str, Any], path: str, depth: int
) -> Iterator[str]:
    schema = _resolved(schema, root)
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _keys(choice, root, path, depth)
    for name, value in schema.get("properties", {}).items():
        value = _resolved(value, root)
        key = f"{path}{name}"
        kind = value.get("type", "")
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        text = " ".join(str(value.get("description", "")).split()).replace("|", "\\|")
        yield f"| `{key}` | {kind} | {text.replace('[', chr(92) + '[').replace('<', '&lt;')} |"
        if depth < 4:
            yield from _keys(value, root, f"{key}.", depth + 1)
            if isinstance(value.get("items"), dict):
                yield from _keys(value["items"], root, f"{key}[].", depth + 1)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if not reference.startswith("#/"):
        return schema
    found: Any = root
    for part in reference[2:].split("/"):
        found = found[part]
    return {**found, **{key: value for key, value in schema.items() if key != "$ref"}}


def _modules() -> Iterator[str]:
    yield "What a back end, a driver or a program of your own uses.\n"
    for name in MODULES:
        yield f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def read_help(command: str, *words: str) -> str:
    """Return the help output of a command."""
    program = shutil.which(command)
    if program is None:
        raise RuntimeError(f"{command}: expected an installed command; run `make setup`")
    done = subprocess.run(
        [program, *words, "--help"],
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"{command} {' '.join(words)} --help: {done.stderr or 'prints nothing'}")
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(str(Path.home()), "~")
