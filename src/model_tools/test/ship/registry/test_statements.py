# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signed statements: channels, revocations, downgrades; their order, and clocks that are wrong."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from model_tools.ship.push import bundle_digest
from policy_core.bundle.load import load_bundle
from policy_core.bundle.signature import signature_path
from policy_core.bundle.statements import RevocationStatement, parse_statement
from policy_core.bundle.store import TRIALS_FILE
from policy_core.errors import BundleError, PolicyError
from policy_store import statements
from policy_store.inventory import verify
from policy_store.registry.access import RegistryError
from policy_store.trial_record import TrialEvent, append_event
from testkit.edits import reword
from testkit.store import (
    NAME,
    MakeVersion,
    in_use,
    make_keys,
    sign,
    tool,
    tool_refused,
    versions,
)
from testkit.wording import check_wording, refusal

from .conftest import RegistrySite, Signer, push

NOW = datetime.now(timezone.utc)


def when(**after: float) -> str:
    return (NOW + timedelta(**after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def channel(
    bundle: Path, *, serial: int = 1, issued: str = "", expires: str = "", name: str = "stable"
) -> str:
    loaded = load_bundle(bundle)
    return f"""
kind: channel
name: {loaded.contract.name}
channel: {name}
serial: {serial}
issued: "{issued or when(minutes=-5)}"
expires: "{expires or when(days=30)}"
version: "{loaded.contract.version}"
digest: {bundle_digest(loaded)}
"""


def revocations(serial: int = 1, **versions: str) -> str:
    """Return a statement about versions, written 1_0_0."""
    named = "".join(f'  "{key[1:].replace("_", ".")}": {why}\n' for key, why in versions.items())
    issued = when(minutes=-5)
    return (
        f'kind: revocations\nname: {NAME}\nserial: {serial}\nissued: "{issued}"\n'
        f"versions: {'{}' if not named else ''}\n{named}"
    )


def downgrade(bundle: Path, *, expires: str = "", version: str = "") -> str:
    loaded = load_bundle(bundle)
    return f"""
kind: downgrade
name: {NAME}
version: "{version or loaded.contract.version}"
digest: {bundle_digest(loaded)}
issued: "{when(days=-2)}"
expires: "{expires or when(days=1)}"
"""


EXPIRES = when(days=30)


class Clock(datetime):
    """The clock of a robot that a test sets."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Clock:
        real = datetime.now(tz) + cls.ahead
        return cls(real.year, real.month, real.day, real.hour, real.minute, real.second, 0, tz)


@pytest.fixture
def robot_clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(statements, "datetime", Clock)
    monkeypatch.setattr(Clock, "ahead", timedelta())
    return Clock


def test_robot_follows_a_channel(site: RegistrySite) -> None:
    for serial, version in enumerate(("1.0.0", "1.1.0"), 1):
        bundle = site.offer(version)
        site.state(channel(bundle, serial=serial))
        root = site.folder / "models"
        options = ("--public-key", site.signer.public, "--root", root, "--install", "--activate")
        assert tool("pull", site.repository, "--channel", "stable", *options) == 0
        assert in_use(root)[0] == version
    with refusal(RegistryError):
        site.pull(site.repository, site.signer.trusted, channel="beta")
    with refusal(PolicyError):
        site.pull(site.repository, site.signer.trusted, channel="../../x")
    with refusal(PolicyError):
        site.pull(site.repository, channel="stable")


@pytest.mark.parametrize("kind", ["future", "expires before it begins", "no version"])
def test_statement_of_the_future_or_that_means_nothing_is_not_pushed(
    kind: str, make_version: MakeVersion, repository: str, tmp_path: Path
) -> None:
    """Robots that accepted it would call every other channel expired until then."""
    file, issued = tmp_path / "statement.yaml", when(minutes=-5)
    texts = {
        "future": revocations().replace(issued, "2099-01-01T00:00:00Z"),
        "expires before it begins": channel(
            make_version(), issued=when(days=-1), expires=when(days=-2)
        ),
        "no version": revocations(v1_0_0="it falls").replace("1.0.0", "v1.0"),
    }
    file.write_text(texts[kind], "utf-8")
    tool_refused("push", file, repository)


def test_statement_that_was_changed_after_signing_is_not_pushed(
    caplog: pytest.LogCaptureFixture, site: RegistrySite
) -> None:
    site.offer()
    file = site.signer.statement(site.folder / "r.yaml", revocations(v0_9_0="limps"))
    reword(file, ("limps", "falls"))
    tool_refused("push", file, site.repository, "--public-key", site.signer.public)
    assert site.pull(f"{site.repository}:1.0.0", site.signer.trusted).is_new
    # Without a key it cannot be known, which is said; robots say who must mend it.
    caplog.clear()
    push(file, site.repository)
    check_wording(*caplog.messages)
    with refusal(BundleError):
        site.pull(f"{site.repository}:1.0.0", site.signer.trusted)
    push(site.signer.sign(file), site.repository, "--public-key", site.signer.public)
    assert not site.pull(f"{site.repository}:1.0.0", site.signer.trusted).is_new


def test_bundle_that_was_changed_after_signing_is_not_pushed(
    make_version: MakeVersion, signer: Signer, repository: str, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_version()
    options = (repository, "--public-key", signer.public)
    tool_refused("push", bundle, *options)
    caplog.clear()
    push(signer.sign(bundle), *options)
    assert not caplog.messages
    reword(bundle / "policy.yaml", ("effort_limit: 1,", "effort_limit: 9,"))
    tool_refused("push", bundle, *options, "--force")
    push(signer.sign(bundle), *options, "--force")


def test_list_that_allows_a_revoked_version_again_is_pushed_only_if_that_is_meant(
    site: RegistrySite,
) -> None:
    site.offer()
    file = site.folder / "r.yaml"
    both = revocations(3, v1_0_0="falls on stairs", v1_1_0="limps")
    push(site.signer.statement(file, both), site.repository)
    site.signer.statement(file, revocations(4, v1_1_0="limps", v1_2_0="drifts"))
    tool_refused("push", file, site.repository)
    site.signer.statement(file, both.replace("serial: 3", "serial: 2"))
    tool_refused("push", file, site.repository, "--again")
    push(site.signer.statement(file, revocations(4, v1_1_0="limps")), site.repository, "--again")


def test_channel_names_the_version_of_its_digest(site: RegistrySite) -> None:
    bundle, file = site.signer.sign(site.make_version()), site.folder / "channel.yaml"
    text = channel(bundle)
    tool_refused("push", site.signer.statement(file, text), site.repository)
    push(bundle, site.repository)
    site.signer.statement(file, text.replace('version: "1.0.0"', 'version: "1.3.0"'))
    tool_refused("push", file, site.repository)


def test_older_and_other_statements_are_refused(site: RegistrySite) -> None:
    bundle, file = site.signer.sign(site.make_version()), site.folder / "channel.yaml"
    push(bundle, site.repository)
    push(site.signer.statement(file, channel(bundle, serial=5)), site.repository)
    site.pull(site.repository, site.signer.trusted, channel="stable")
    # The registry's own owner is refused first.
    site.signer.statement(file, channel(bundle, serial=4))
    assert tool("push", file, site.repository) == 4
    site.signer.statement(file, channel(bundle, serial=5, expires=when(days=60)))
    assert tool("push", file, site.repository) == 4
    for serial in (4, 5):  # a registry that shows an old one, or two
        other = site.repository.replace(f"/{NAME}", f"/other{serial}/{NAME}")
        push(bundle, other)
        text = channel(bundle, serial=serial, expires=when(days=90))
        push(site.signer.statement(file, text), other)
        with refusal(PolicyError):
            site.pull(other, site.signer.trusted, channel="stable")
    stranger = Signer(*make_keys(site.folder, "stranger"))
    push(stranger.statement(file, channel(bundle, serial=9)), site.repository)
    with refusal(BundleError):
        site.pull(site.repository, site.signer.trusted, channel="stable")


def test_expired_channel_is_refused_and_what_is_in_use_stays(
    robot_clock: type[Clock], site: RegistrySite
) -> None:
    bundle = site.offer()
    site.state(channel(bundle))
    site.pull(site.repository, site.signer.trusted, channel="stable")
    robot_clock.ahead = timedelta(days=31)
    with refusal(PolicyError):
        site.pull(site.repository, site.signer.trusted, channel="stable")
    # Not locked out: by its digest or its version, with the signature.
    assert not site.pull(f"{site.repository}:1.0.0", site.signer.trusted).is_new


def test_clock_that_is_behind_neither_locks_out_nor_revives(
    robot_clock: type[Clock], caplog: pytest.LogCaptureFixture, site: RegistrySite
) -> None:
    bundle = site.offer()
    site.state(channel(bundle, issued=when(days=-40), expires=when(days=-10)))
    robot_clock.ahead = timedelta(days=-20_000)  # no battery: 1970 and the like
    assert site.pull(site.repository, site.signer.trusted, channel="stable").is_new
    check_wording(caplog.messages[-1])
    # A newer statement shows that it is later than that.
    behind, robot_clock.ahead = robot_clock.ahead, timedelta()
    site.state(revocations())
    robot_clock.ahead = behind
    site.pull(f"{site.repository}:1.0.0", site.signer.trusted)
    with refusal(PolicyError):
        site.pull(site.repository, site.signer.trusted, channel="stable")


@pytest.mark.parametrize("days", [0, -20_000], ids=["clock right", "clock never set"])
def test_a_statement_of_the_far_future_is_refused_and_locks_no_channel(
    days: int, robot_clock: type[Clock], signer: Signer, tmp_path: Path
) -> None:
    file, model = tmp_path / "statement.yaml", tmp_path / NAME
    file.write_text(revocations().replace(when(minutes=-5), "2099-01-01T00:00:00Z"))
    sign(file, signer.private)
    content, signature = file.read_bytes(), signature_path(file).read_bytes()
    robot_clock.ahead = timedelta(days=days)
    with refusal(PolicyError):
        statements.signed_statement(
            content, signature, "revoked", RevocationStatement, signer.trusted
        )
    # One that an earlier version of this program kept counts no more.
    kept = parse_statement(content, file)
    assert isinstance(kept, RevocationStatement)
    statements.keep(model, kept, content)
    statements.require_valid(when(minutes=-5), when(days=30), model, "channel-stable")


def test_a_signature_by_a_new_key_replaces_that_of_an_installed_version(
    site: RegistrySite, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    bundle, root, rotated = (
        site.offer(),
        site.folder / "models",
        Signer(*make_keys(tmp_path / "new")),
    )
    assert site.pull(f"{site.repository}:1.0.0", site.signer.trusted).is_new
    rotated.sign(bundle)
    new_key = ("--public-key", rotated.public)
    assert tool("install", bundle, "--root", root, *new_key) == 0
    signed = root / NAME / "1.0.0/policy.yaml.sig"
    assert signed.read_bytes() == signature_path(bundle / "policy.yaml").read_bytes()
    assert tool("verify", NAME, "--root", root, *new_key) == 0
    assert tool("activate", NAME, "1.0.0", "--root", root, *new_key) == 0
    # From a registry as well; without keys, nothing is replaced.
    assert site.pull(f"{site.repository}:1.0.0", site.signer.trusted).is_new
    before = signed.read_bytes()
    assert before != signature_path(bundle / "policy.yaml").read_bytes()
    assert tool("install", bundle, "--root", root) == 0
    assert signed.read_bytes() == before


def test_revoked_version_is_refused_everywhere_and_passed_over(site: RegistrySite) -> None:
    site.offer("1.3.0")
    site.state(revocations(v1_3_0="falls on stairs", v1_1_0="limps"))
    with refusal(PolicyError):
        site.pull(f"{site.repository}:1.3.0", site.signer.trusted, root=site.root)
    # It is kept although the pull was refused.
    tool_refused("activate", NAME, "1.1.0", "--root", site.root)
    assert tool("rollback", NAME, "--root", site.root) == 0
    assert in_use(site.root)[0] == "1.0.0"
    # A newer statement may take it back; a registry without one changes nothing.
    other = site.repository.replace(f"/{NAME}", f"/other/{NAME}")
    push(site.signer.sign(site.make_version("1.3.0")), other)
    with refusal(PolicyError):
        site.pull(f"{other}:1.3.0", site.signer.trusted, root=site.root)
    site.state(revocations(2), "--again")
    assert site.pull(f"{site.repository}:1.3.0", site.signer.trusted, root=site.root).is_new
    assert tool("activate", NAME, "1.1.0", "--root", site.root) == 0


def test_revoked_version_from_a_file_is_installed_with_a_warning(
    site: RegistrySite, caplog: pytest.LogCaptureFixture
) -> None:
    site.offer("1.3.0")
    site.state(revocations(v1_3_0="falls on stairs"))
    assert (
        tool(
            "pull",
            site.repository,
            "--revocations",
            "--public-key",
            site.signer.public,
            "--root",
            site.root,
        )
        == 0
    )
    caplog.clear()
    assert tool("install", site.make_version("1.3.0"), "--root", site.root) == 0
    check_wording(*caplog.messages)


def test_version_that_was_revoked_after_its_trial_is_not_kept(
    site: RegistrySite, tmp_path: Path
) -> None:
    site.offer("1.3.0")
    site.pull(f"{site.repository}:1.3.0", site.signer.trusted, root=site.root)
    trial = tmp_path / "trial.yaml"
    trial.write_text("run_time_s: 60\n")
    assert tool("activate", NAME, "1.3.0", "--trial", trial, "--root", site.root) == 0
    append_event(site.root / NAME / TRIALS_FILE, 1, TrialEvent.PASSED)
    site.state(revocations(v1_3_0="falls on stairs"))
    with refusal(PolicyError):
        site.pull(f"{site.repository}:1.3.0", site.signer.trusted, root=site.root)
    tool_refused("trial", "keep", NAME, "--root", site.root)
    assert in_use(site.root)[0] == "1.2.0"


def test_revoked_version_in_use_is_named_by_every_command(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], site: RegistrySite
) -> None:
    site.offer("1.3.0")
    site.state(revocations(v1_2_0="falls on stairs", v1_0_0="limps"))
    assert tool("verify", NAME, "current", "--root", site.root) == 0
    command = (
        "pull",
        f"{site.repository}:1.3.0",
        "--public-key",
        site.signer.public,
        "--root",
        site.root,
    )
    caplog.clear()
    assert tool(*command, "--install") == 0
    check_wording(*caplog.messages)
    for words in (("verify", NAME, "current"), ("verify", f"{NAME}@1.0.0"), ("verify",)):
        assert tool(*words, "--root", site.root) == 1
    problems = {one.version: one.problem for one in verify(site.root) if one.problem}
    assert problems.keys() == {"1.2.0"}
    check_wording(problems["1.2.0"])
    assert tool("verify", f"{NAME}@1.1.0", "--root", site.root) == 0
    capsys.readouterr()
    assert tool("list", "--root", site.root) == 0
    assert "REVOKED" in capsys.readouterr().out
    # Out of use it is a note, as nodes do not take it.
    caplog.clear()
    assert tool(*command, "--install", "--activate") == 0
    assert not caplog.messages
    assert tool("verify", "--root", site.root) == 0
    assert [one.version for one in verify(site.root) if one.notes] == ["1.0.0", "1.2.0"]


def test_revocations_are_pulled_without_a_bundle(
    capsys: pytest.CaptureFixture[str], site: RegistrySite
) -> None:
    site.state(revocations(v1_2_0="falls on stairs"))
    command = ("pull", site.repository, "--revocations", "--root", site.root)
    capsys.readouterr()
    tool_refused(*command)
    assert tool(*command, "--public-key", site.signer.public) == 0
    check_wording(capsys.readouterr().out)
    assert tool("verify", NAME, "current", "--root", site.root) == 1
    assert versions(site.root) == ["1.0.0", "1.1.0", "1.2.0"]
    for words in (("--install",), ("--channel", "stable")):
        assert tool(*command, "--public-key", site.signer.public, *words) == 4
    tagged = ("pull", f"{site.repository}:1.2.0", *command[2:], "--public-key", site.signer.public)
    assert tool(*tagged) == 4


def test_damaged_statement_is_found_and_comes_again(site: RegistrySite) -> None:
    site.offer("1.3.0")
    site.state(revocations(v1_1_0="limps"))
    site.pull(f"{site.repository}:1.3.0", site.signer.trusted, root=site.root)
    file = site.root / NAME / "statements/revoked.yaml"
    file.write_text("{", "utf-8")
    tool_refused("activate", NAME, "1.0.0", "--root", site.root)
    assert tool("rollback", NAME, "--root", site.root) == 4
    assert tool("verify", "--root", site.root) == 1
    file.unlink()
    site.pull(f"{site.repository}:1.3.0", site.signer.trusted, root=site.root)
    assert tool("rollback", NAME, "--root", site.root) == 0
    assert in_use(site.root)[0] == "1.0.0"


def test_signed_statement_allows_one_downgrade(site: RegistrySite) -> None:
    old, file = site.signer.sign(site.make_version("1.1.5")), site.folder / "down.yaml"
    push(old, site.repository)
    with refusal(PolicyError):
        site.pull(f"{site.repository}:1.1.5", root=site.root)
    for trusted, text in (
        (site.signer.trusted, downgrade(old, version="1.1.0")),
        (site.signer.trusted, downgrade(old, expires=when(days=-1))),
        (site.signer.trusted, revocations()),
        (None, downgrade(old)),
        (Signer(*make_keys(site.folder, "other")).trusted, downgrade(old)),
    ):
        site.signer.statement(file, text)
        with refusal(PolicyError):
            site.pull(f"{site.repository}:1.1.5", trusted, root=site.root, allow_downgrade=file)
    assert versions(site.root) == ["1.0.0", "1.1.0", "1.2.0"]
    site.signer.statement(file, downgrade(old))
    assert site.pull(
        f"{site.repository}:1.1.5", site.signer.trusted, root=site.root, allow_downgrade=file
    ).is_new


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("kind: channel", "kind: policy"), "kind"),
        (("serial: 1", "serial: 0"), "serial"),
        (("serial: 1", "serial: true"), "serial"),
        (("channel: stable", "channel: ../x"), "channel"),
        (("digest: sha256", "digest: md5"), "digest"),
        (("kind: channel", "kind: channel\nmore: 1"), "more"),
        ((EXPIRES, "2026-02-30T00:00:00Z"), "expires"),
    ],
    ids=["kind", "zero", "truth", "channel", "digest", "more", "no such day"],
)
def test_statements_are_read_strictly(
    change: tuple[str, str], key: str, make_version: MakeVersion
) -> None:
    text = channel(make_version(), expires=EXPIRES)
    assert change[0] in text
    text = text.replace(*change)
    with pytest.raises(BundleError) as caught:
        parse_statement(text.encode(), "here")
    assert {problem.key for problem in caught.value.problems} == {key}


def test_examples_are_statements() -> None:
    files = sorted((Path(__file__).parents[5] / "examples/registry").glob("*.yaml"))
    kinds = [parse_statement(file.read_bytes(), file).kind for file in files]
    assert kinds == ["channel", "downgrade", "revocations"]


def test_contract_is_no_statement_and_statement_no_contract(site: RegistrySite) -> None:
    assert tool("sign", site.make_version() / "policy.yaml", "--key", site.signer.private) == 4
    file = site.folder / "c.yaml"
    file.write_text(revocations(), "utf-8")
    assert tool("push", file, site.repository) == 4  # not signed
    site.signer.sign(file)
    assert tool("push", file, site.repository.replace(NAME, "other")) == 4
    file.write_text(downgrade(site.make_version()), "utf-8")
    site.signer.sign(file)
    assert tool("push", file, site.repository) == 4
