# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show the trial of an installed version, keep the version, or end its trial.

    policy_store trial status lite3_walk --json

keep: the version passed its trial; it is in use from now on. end: the trial ends, and the version
in use does not change. Both take effect at the next ~/load or start of the node, and `keep` also at
the next ~/run. `policy_store activate NAME VERSION --trial FILE` begins a trial.
"""
# run: before: policy_store install my_bundle --activate

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from policy_store.command_line import CommandResult
from policy_store.commands.arguments import add_public_key, add_root, read_keys, read_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("status", "keep", "end"), help="what to do")
    parser.add_argument("name", help="name of the bundle")
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> CommandResult[Mapping[str, Any]]:
    """Show the trial, keep the version, or end the trial.

    Returns:
        The newest trial, or the state "none": docs/candidates.md lists the keys.
    """
    from policy_store.activation import keep_trial
    from policy_store.trials import end_undecided, trial_status

    root = read_root(given)
    if given.action == "keep":
        folder = keep_trial(root, given.name, read_keys(given))
        text = f"{given.name} {folder.name} is in use"
    elif given.action == "end":
        ended = end_undecided(root, given.name, read_keys(given))
        text = f"{ended}: the trial has ended, {ended.version_before} is in use"
    else:
        text = _text(trial_status(root, given.name))
    return CommandResult(document=trial_status(root, given.name), text=[text])


def _text(found: Mapping[str, Any]) -> str:
    if found["state"] == "none":
        return f"{found['name']}: no trial; {found['current'] or 'no version'} is in use"
    reason = f": {found['reason']}" if found["reason"] else ""
    running = ", and the run in progress" if found["running"] else ""
    return (
        f"{found['name']} {found['version']}: trial {found['state']}{reason}; "
        f"{found['run_time_s']:.1f} of {found['run_time_limit_s']:g} s of RUN time{running}; "
        f"{found['current']} is in use, policy nodes run {found['nodes_take']}"
    )
