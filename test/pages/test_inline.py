# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands in sentences and tables, which do not run: their verbs, targets and options exist."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from testkit.pages.commands import find_pages
from testkit.pages.programs import ROOT

PROGRAMS = (
    "episode_operator",
    "lerobot_bridge",
    "model_tools",
    "policy_inference",
    "policy_store",
    "robot_operator",
)
FORMER_NAMES = {"policy_inference doctor"}
"""On the page that says what stands for them now."""
PAGES = [page for page in find_pages() if page.suffix == ".md"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_sentences_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    spans = {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)}
    assert [span for span in sorted(spans - FORMER_NAMES) if not exists(span)] == []


@pytest.mark.slow
def test_what_does_not_exist_is_found() -> None:
    wrong = ("make tests", "model_tools inspekt", "model_tools inspect --no", "python -m tools.x")
    assert not any(exists(span) for span in wrong)
    right = (
        "make test",
        "model_tools inspect B --html page.html",
        "model_tools fleet status --json",
    )
    assert all(exists(span) for span in right)


def exists(span: str) -> bool:
    """Return False if a command of the suite has a verb, target, module or option that is not."""
    words = span.split()
    if words[0] == "make" and len(words) > 1:
        targets = {word for word in words[1:] if re.fullmatch("[a-z-]+", word)}
        return targets <= read_targets()
    module = re.match(r"python3? -m ((?:tools|examples|bench)[\w.]*)", span)
    if module:
        path = ROOT / module[1].replace(".", "/")
        return path.is_dir() or path.with_suffix(".py").exists()
    if words[0] not in PROGRAMS or not re.match("[a-z]", " ".join(words[1:])):
        return True
    verbs = (re.match(r"[a-z_ -]*?(?= [^a-z]|$)", " ".join(words[1:])) or [""])[0].split()
    helps = [
        read_help(words[0]),
        *(read_help(words[0], *verbs[: n + 1]) for n in range(len(verbs))),
    ]
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    return names(words[1], helps[0]) and all(names(option, " ".join(helps)) for option in options)


def names(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


@cache
def read_help(*command: str) -> str:
    ended = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    return ended.stdout


@cache
def read_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
