# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment, a pull leaves what ran running; the same command ends it well."""

import shutil
from itertools import count

import pytest

from testkit.store import hidden_names, in_use, tool, tool_killed, verify_problems, versions

from .conftest import RegistrySite, push
from .test_statements import channel, revocations

pytestmark = pytest.mark.forks
BEFORE = ("1.2.0", ["1.1.0", "1.0.0"])
AFTER = ("1.3.0", ["1.2.0", "1.1.0", "1.0.0"])
MOST_CHANGES = 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", [13, pytest.param(1, marks=pytest.mark.acceptance)], ids=["some", "each"]
)
def test_pull_that_is_killed_is_continued(step: int, site: RegistrySite) -> None:
    bundle = site.signer.sign(site.make_version("1.3.0"))
    push(bundle, site.repository)
    site.state(channel(bundle))
    site.state(revocations(v0_9_0="old"))
    options = ("--install", "--activate", "--channel", "stable", "--public-key", site.signer.public)
    for at in count(1, step):
        mine = shutil.copytree(site.root, site.folder / str(at), symlinks=True)
        was_killed = tool_killed(at, "pull", site.repository, *options, "--root", mine)
        assert verify_problems(mine) == []
        assert in_use(mine) in (BEFORE, AFTER)
        assert set(versions(mine)) >= {"1.0.0", "1.1.0", "1.2.0"}
        assert tool("pull", site.repository, *options, "--root", mine) == 0
        assert in_use(mine) == AFTER
        assert tool("prune", "tiny", "--keep", 99, "--force", "--root", mine) == 0
        assert hidden_names(mine) == []
        shutil.rmtree(mine)
        if not was_killed:
            assert at > 3 * 13
            return
        assert at < MOST_CHANGES
