# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Look at the trial of an installed version, keep the version, or end its trial.

    model_tools trial status lite3_walk --json

keep: the version passed its trial; it is in use from now on. end: the trial ends, and the version
in use is that of before. Each takes effect at the next ~/load or start of the node, and `keep` at
the next ~/run. `model_tools activate NAME VERSION --trial FILE` begins a trial.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from typing import Any

from model_tools.commands.arguments import add_public_key, add_root, keys_of, root_of

_log = logging.getLogger("model_tools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=("status", "keep", "end"), help="what to do")
    parser.add_argument("name", help="name of the bundle")
    parser.add_argument("--json", action="store_true", help="status: as JSON, with everything")
    add_root(parser)
    add_public_key(parser)


def run(given: argparse.Namespace) -> int:
    """Do it; return the exit status."""
    from model_tools.ship.store.activation import keep_trial
    from model_tools.ship.store.trials import end_undecided, trial_status
    from policy_inference.commands.output import show

    root = root_of(given)
    if given.action == "keep":
        folder = keep_trial(root, given.name, keys_of(given))
        _log.info("%s %s is in use", given.name, folder.name)
    elif given.action == "end":
        ended = end_undecided(root, given.name, keys_of(given))
        _log.info("%s: the trial has ended, %s is in use", ended, ended.version_before)
    else:
        found = trial_status(root, given.name)
        show(json.dumps(found, indent=2) if given.json else _text(found))
    return 0


def _text(found: Mapping[str, Any]) -> str:
    if found["state"] == "none":
        return f"{found['name']}: no trial; {found['current'] or 'no version'} is in use"
    reason = f": {found['reason']}" if found["reason"] else ""
    return (
        f"{found['name']} {found['version']}: trial {found['state']}{reason}; "
        f"{found['run_time_s']:.1f} of {found['run_time_limit_s']:g} s RUN time; "
        f"{found['current']} is in use, policy nodes take {found['nodes_take']}"
    )
