# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a bundle says that was measured with another model than the one it has."""

from __future__ import annotations

import logging

from model_tools.bundle_reports import models_of
from model_tools.completion.replayed import replayed
from model_tools.contract_text import remove_section, set_section
from policy_inference.bundle.load import CONTRACT_FILE, Bundle
from policy_inference.comparison.rows import golden_rows
from policy_inference.errors import PolicyError

_log = logging.getLogger("model_tools")


def is_proven(bundle: Bundle) -> bool:
    """Return whether golden rows show that what was measured was measured with this model."""
    try:
        replayed(bundle, golden_rows(bundle))
    except PolicyError:
        return False
    return True


def drop_nominal(bundle: Bundle) -> None:
    """Remove the nominal figures from the contract, if it has any."""
    if bundle.contract.nominal is not None:
        file = bundle.path / CONTRACT_FILE
        file.write_text(remove_section(file.read_text("utf-8"), "nominal"), "utf-8")
        _log.warning("the nominal figures are left out: no golden rows show that they are of the "
                     "model in this bundle")


def drop_reports_of_others(bundle: Bundle) -> None:
    """Remove reports from the contract that do not name the model they stand for."""
    reports, artifacts = bundle.contract.reports, bundle.contract.model.artifacts
    kept = {backend: report for backend, report in reports.items()
            if artifacts[backend].sha256 in models_of(bundle.path / report.file)}
    if kept != reports:
        file = bundle.path / CONTRACT_FILE
        text = file.read_text("utf-8")
        file.write_text(set_section(text, "reports", kept) if kept else
                        remove_section(text, "reports"), "utf-8")
        others = ", ".join(reports[backend].file for backend in reports.keys() - kept.keys())
        _log.warning("%s: left out, since it is not about the model in this bundle", others)
