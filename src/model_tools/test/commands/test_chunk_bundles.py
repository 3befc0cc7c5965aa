# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands for joint policies refuse a chunk policy, with what is there for it."""

from pathlib import Path

import pytest

from model_tools import cli
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["complete", "ARM", "--output", "OUT"], "`model_tools export act` writes bundles of "),
        (["run", "ARM", "--env", "nothing:none"], "`model_tools compare` holds the graphs of "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_command_for_joint_policies_refuses_a_chunk_policy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: list[str], instead: str
) -> None:
    places = {"ARM": str(write_chunk_bundle(tmp_path / "arm")), "OUT": str(tmp_path / "out")}

    assert cli.main([places.get(word, word) for word in command]) == 4

    check_wording(caplog.messages[-1])
    assert not (tmp_path / "out").exists()
