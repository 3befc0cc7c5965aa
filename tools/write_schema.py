# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes files generated from tables in the code: schemas for editors, the table of metrics.

Editors use the JSON Schemas to complete and check contracts, plans and similar files; docs/fleet.md
has the table. Run it in the root of the checkout after a change: `python -m tools.write_schema`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lerobot_bridge.mapping_file import MAPPINGS, mapping_schema
from model_tools.prove.evaluation.plan import plan_schema
from policy_core.bundle.editor_schema import contract_schema, set_schema
from policy_inference.metrics_server import TELEMETRY
from policy_inference.status_fields import (
    BATTERY,
    DIAGNOSED,
    DRIVER,
    EXPORTED,
    POLICY,
    UP,
    MetricKind,
    StatusGroup,
)
from policy_store.trial_file import trial_schema

_ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = _ROOT / "config" / "bundles"
PLANS = _ROOT / "examples" / "evaluate"

METRICS = _ROOT / "docs" / "fleet.md"
_Row = tuple[str, list[str], str, list[str]]
"""Name, labels, meaning and values of the labels of a metric."""
_HEAD = "| metric | labels | meaning |\n| --- | --- | --- |\n"


def metrics_page() -> str:
    """Return docs/fleet.md with the table of metrics from the code."""
    before, _, after = METRICS.read_text("utf-8").partition(_HEAD)
    rows: list[_Row] = [("policy_nodes", [], "Policy nodes seen since the exporter started", [])]
    for group in (UP, POLICY, EXPORTED, DIAGNOSED, DRIVER):
        rows += [
            (name, ["node", *labels], meaning, words)
            for name, labels, meaning, words in _metrics(group)
        ]
    for name, meaning, label, _ in TELEMETRY.values():
        rows.append((name, ["node", label], meaning, []))
    rows.append(("telemetry", ["node", "name"], "Other telemetry; the unit is in the name", []))
    rows += _metrics(BATTERY)
    first, values = dict[str, _Row](), dict[str, list[str]]()
    for row in rows:
        first.setdefault(row[0], row)
        values.setdefault(row[0], []).extend(row[3])
    table = "".join(
        f"| `{name}` |{_listed(labels)} | {meaning}{':' if values[name] else ''}"
        f"{_listed(values[name])} |\n"
        for name, labels, meaning, _ in first.values()
    )
    return f"{before}{_HEAD}{table}\n{after.partition(chr(10) * 2)[2]}"


def _metrics(group: StatusGroup) -> Iterator[_Row]:
    """Yield each metric of a group and its parts."""
    if group.info is not None:
        labels = [each.metric for each in group.fields if each.kind is MetricKind.LABEL]
        yield "_".join(filter(None, (group.info[0], "info"))), labels, group.info[1], []
    for each in group.fields:
        if each.part is not None:
            yield from _metrics(each.part)
        elif each.kind not in (MetricKind.NONE, MetricKind.LABEL):
            labels = [*each.labels, *each.labels_from]
            if each.kind is MetricKind.STATE:
                labels.append(each.name)
            metric = f"{each.metric}_total" if each.kind.is_counter else each.metric
            yield metric, labels, each.doc, [*each.labels.values(), *each.states]


def _listed(words: list[str]) -> str:
    return "".join(f"{',' if place else ''} `{word}`" for place, word in enumerate(words))


def schemas() -> dict[Path, Mapping[str, Any]]:
    """Return the content of each schema file."""
    return {
        CONTRACTS / "policy.schema.json": contract_schema(),
        CONTRACTS / "set.schema.json": set_schema(),
        CONTRACTS / "trial.schema.json": trial_schema(),
        PLANS / "plan.schema.json": plan_schema(),
        MAPPINGS / "mapping.schema.json": mapping_schema(),
    }


if __name__ == "__main__":
    for file, schema in schemas().items():
        file.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    METRICS.write_text(metrics_page(), encoding="utf-8")
