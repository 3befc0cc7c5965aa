# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The reference pages' table of metrics, generated from the tables in the code."""

from collections.abc import Iterator

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

_Row = tuple[str, list[str], str, list[str]]
"""Name, labels, meaning and label values of a metric."""


def metrics_table() -> str:
    """Return a Markdown table of a robot's metrics with their labels and meanings."""
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
    return f"| metric | labels | meaning |\n| --- | --- | --- |\n{table}"


def _metrics(group: StatusGroup) -> Iterator[_Row]:
    """Yield each metric of a group and of its parts."""
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
