# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signed statements: channels, revocations, downgrades; their order, and clocks that are wrong."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.ship.registry.access import RegistryError
from model_tools.ship.registry.push import bundle_digest
from model_tools.ship.store import statements
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.statements import parse_statement
from policy_inference.errors import BundleError

from ..store.conftest import Bundles, Keys
from ..store.stores import NAME, in_use, run, versions
from .conftest import Pull, Signer, push

NOW = datetime.now(timezone.utc)


def when(**after: float) -> str:
    """Return a time after now, or before, as statements have it."""
    return (NOW + timedelta(**after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def channel(
    bundle: Path, *, serial: int = 1, issued: str = "", expires: str = "", name: str = "stable"
) -> str:
    """Return a statement."""
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
    """Return a statement."""
    loaded = load_bundle(bundle)
    return f"""
kind: downgrade
name: {NAME}
version: "{version or loaded.contract.version}"
digest: {bundle_digest(loaded)}
issued: "{when(days=-2)}"
expires: "{expires or when(days=1)}"
"""


class Clock(datetime):
    """The clock of a robot that a test sets."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Clock:
        real = datetime.now(tz) + cls.ahead
        return cls(real.year, real.month, real.day, real.hour, real.minute, real.second, 0, tz)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """Return the robot's clock."""
    monkeypatch.setattr(statements, "datetime", Clock)
    monkeypatch.setattr(Clock, "ahead", timedelta())
    return Clock


def test_robot_follows_a_channel(
    bundles: Bundles, signer: Signer, place: str, pull: Pull, tmp_path: Path
) -> None:
    for serial, version in enumerate(("1.0.0", "1.1.0"), 1):
        bundle = signer.sign(bundles(version))
        push(bundle, place)
        file = signer.statement(tmp_path / "channel.yaml", channel(bundle, serial=serial))
        push(file, place)
        root = tmp_path / "models"
        options = ("--public-key", signer.public, "--root", root, "--install", "--activate")
        assert run("pull", place, "--channel", "stable", *options) == 0
        assert in_use(root)[0] == version
    with pytest.raises(RegistryError, match="expected the channel beta, found none"):
        pull(place, signer.trusted, channel="beta")
    with pytest.raises(ToolError, match="--channel: expected text like"):
        pull(place, signer.trusted, channel="../../x")


def test_statement_of_the_future_or_that_means_nothing_is_not_pushed(
    bundles: Bundles, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Robots that accepted it would call every other channel expired until then."""
    file = tmp_path / "statement.yaml"
    for text, found in (
        (
            revocations().replace(when(minutes=-5), "2099-01-01T00:00:00Z"),
            "expected a statement that was issued by now",
        ),
        (
            channel(bundles(), issued=when(days=-1), expires=when(days=-2)),
            "expires: expected a time after `issued`",
        ),
        (
            revocations(_1_0_0="it falls").replace("1.0.0", "v1.0"),
            "versions: expected versions of the bundle, such as 1.2.0, found 'v1.0'",
        ),
    ):
        file.write_text(text, "utf-8")
        assert run("push", file, place) == 4
        assert found in caplog.text


def test_statement_that_was_changed_after_signing_is_not_pushed(
    bundles: Bundles,
    signer: Signer,
    place: str,
    pull: Pull,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    push(signer.sign(bundles()), place)
    file = signer.statement(tmp_path / "r.yaml", revocations(v0_9_0="limps"))
    file.write_text(file.read_text("utf-8").replace("limps", "falls"), "utf-8")
    assert run("push", file, place, "--public-key", signer.public) == 4
    assert f"sign it again: `model_tools sign {file} --key private.pem --force`" in caplog.text
    assert pull(f"{place}:1.0.0", signer.trusted).is_new
    # Without a key it cannot be known, which is said; robots say who must mend it.
    caplog.clear()
    push(file, place)
    assert "its signature was not checked, because no public keys are configured" in caplog.text
    with pytest.raises(BundleError, match="its author must sign and push the revocations again"):
        pull(f"{place}:1.0.0", signer.trusted)
    push(signer.sign(file), place, "--public-key", signer.public)
    assert not pull(f"{place}:1.0.0", signer.trusted).is_new


def test_bundle_that_was_changed_after_signing_is_not_pushed(
    bundles: Bundles, signer: Signer, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = bundles()
    assert run("push", bundle, place, "--public-key", signer.public) == 4
    push(signer.sign(bundle), place, "--public-key", signer.public)
    assert "was not checked" not in caplog.text
    file = bundle / "policy.yaml"
    file.write_text(
        file.read_text("utf-8").replace("effort_limit: 1,", "effort_limit: 9,"), "utf-8"
    )
    again = f"sign it again: `model_tools sign {bundle} --key private.pem --force`"
    assert run("push", bundle, place, "--public-key", signer.public, "--force") == 4
    assert caplog.text.count(again) == 2
    push(signer.sign(bundle), place, "--public-key", signer.public, "--force")


def test_list_that_allows_a_revoked_version_again_is_pushed_only_if_that_is_meant(
    bundles: Bundles,
    signer: Signer,
    place: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    push(signer.sign(bundles()), place)
    file = tmp_path / "r.yaml"
    push(signer.statement(file, revocations(3, v1_0_0="falls on stairs", v1_1_0="limps")), place)
    signer.statement(file, revocations(4, v1_1_0="limps", v1_2_0="drifts"))
    assert run("push", file, place) == 4
    assert "found it without 1.0.0 (falls on stairs): robots would take it again" in caplog.text
    signer.statement(file, revocations(2, v1_0_0="falls on stairs", v1_1_0="limps"))
    assert run("push", file, place, "--again") == 4
    assert "write `serial: 4` and sign it again" in caplog.text
    push(signer.statement(file, revocations(4, v1_1_0="limps")), place, "--again")


def test_channel_names_the_version_of_its_digest(
    bundles: Bundles,
    signer: Signer,
    place: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle, file = signer.sign(bundles()), tmp_path / "channel.yaml"
    text = channel(bundle)
    assert run("push", signer.statement(file, text), place) == 4
    assert f"expected {bundle_digest(load_bundle(bundle))}, found nothing" in caplog.text
    push(bundle, place)
    signer.statement(file, text.replace('version: "1.0.0"', 'version: "1.3.0"'))
    assert run("push", file, place) == 4
    assert ", which is 1.0.0, found 1.3.0; `model_tools push` prints the digest" in caplog.text


def test_channel_without_keys_is_refused(place: str, pull: Pull) -> None:
    with pytest.raises(ToolError, match="expected public keys"):
        pull(place, channel="stable")


def test_older_and_other_statements_are_refused(
    bundles: Bundles, signer: Signer, place: str, pull: Pull, tmp_path: Path, keys: Keys
) -> None:
    bundle, file = signer.sign(bundles()), tmp_path / "channel.yaml"
    push(bundle, place)
    push(signer.statement(file, channel(bundle, serial=5)), place)
    pull(place, signer.trusted, channel="stable")
    # The registry's own owner is refused first.
    signer.statement(file, channel(bundle, serial=4))
    assert run("push", file, place) == 4
    signer.statement(file, channel(bundle, serial=5, expires=when(days=60)))
    assert run("push", file, place) == 4
    for serial in (4, 5):  # a registry that shows an old one, or two
        other = place.replace(f"/{NAME}", f"/other{serial}/{NAME}")
        push(bundle, other)
        text = channel(bundle, serial=serial, expires=when(days=90))
        push(signer.statement(file, text), other)
        with pytest.raises(ToolError, match="expected a serial above 5"):
            pull(other, signer.trusted, channel="stable")
    stranger = Signer(*keys("stranger"))
    push(stranger.statement(file, channel(bundle, serial=9)), place)
    with pytest.raises(BundleError, match="by a key of"):
        pull(place, signer.trusted, channel="stable")


def test_expired_channel_is_refused_and_what_is_in_use_stays(
    bundles: Bundles, signer: Signer, place: str, pull: Pull, tmp_path: Path, clock: type[Clock]
) -> None:
    bundle = signer.sign(bundles())
    push(bundle, place)
    push(signer.statement(tmp_path / "c.yaml", channel(bundle)), place)
    pull(place, signer.trusted, channel="stable")
    clock.ahead = timedelta(days=31)
    with pytest.raises(ToolError, match=r"that has not expired, .*set the clock; what is in use"):
        pull(place, signer.trusted, channel="stable")
    # Not locked out: by its digest or its version, with the signature.
    assert not pull(f"{place}:1.0.0", signer.trusted).is_new


def test_clock_that_is_behind_neither_locks_out_nor_revives(
    bundles: Bundles,
    signer: Signer,
    place: str,
    pull: Pull,
    tmp_path: Path,
    clock: type[Clock],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = signer.sign(bundles())
    push(bundle, place)
    text = channel(bundle, issued=when(days=-40), expires=when(days=-10))
    push(signer.statement(tmp_path / "c.yaml", text), place)
    clock.ahead = timedelta(days=-20_000)  # no battery: 1970 and the like
    assert pull(place, signer.trusted, channel="stable").is_new
    assert "is behind the time of this statement" in caplog.text
    # A newer statement shows that it is later than that.
    behind, clock.ahead = clock.ahead, timedelta()
    push(signer.statement(tmp_path / "r.yaml", revocations()), place)
    clock.ahead = behind
    pull(f"{place}:1.0.0", signer.trusted)
    with pytest.raises(ToolError, match="expected a statement that has not expired"):
        pull(place, signer.trusted, channel="stable")


def test_revoked_version_is_refused_everywhere_and_passed_over(
    bundles: Bundles,
    signer: Signer,
    place: str,
    pull: Pull,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    push(signer.sign(bundles("1.3.0")), place)
    text = revocations(v1_3_0="falls on stairs", v1_1_0="limps")
    push(signer.statement(tmp_path / "r.yaml", text), place)
    with pytest.raises(ToolError, match=r"found that 1\.3\.0 is: falls on stairs"):
        pull(f"{place}:1.3.0", signer.trusted, root=root)
    # It is kept although the pull was refused.
    assert run("activate", NAME, "1.1.0", "--root", root) == 4
    assert "not revoked, found that it is: limps" in caplog.text
    assert run("rollback", NAME, "--root", root) == 0
    assert in_use(root)[0] == "1.0.0"
    # A newer statement may take it back; a registry without one changes nothing.
    other = place.replace(f"/{NAME}", f"/other/{NAME}")
    push(signer.sign(bundles("1.3.0")), other)
    with pytest.raises(ToolError, match="falls on stairs"):
        pull(f"{other}:1.3.0", signer.trusted, root=root)
    push(signer.statement(tmp_path / "r.yaml", revocations(2)), place, "--again")
    assert pull(f"{place}:1.3.0", signer.trusted, root=root).is_new
    assert run("activate", NAME, "1.1.0", "--root", root) == 0


def test_revoked_version_in_use_is_named_by_every_command(
    bundles: Bundles,
    signer: Signer,
    place: str,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push(signer.sign(bundles("1.3.0")), place)
    text = revocations(v1_2_0="falls on stairs", v1_0_0="limps")
    push(signer.statement(tmp_path / "r.yaml", text), place)
    assert run("verify", NAME, "current", "--root", root) == 0
    command = ("pull", f"{place}:1.3.0", "--public-key", signer.public, "--root", root)
    assert run(*command, "--install") == 0
    assert "tiny 1.2.0, which is in use, is revoked: falls on stairs" in caplog.text
    for words in (("verify", NAME, "current"), ("verify", f"{NAME}@1.0.0"), ("verify",)):
        capsys.readouterr()
        assert run(*words, "--root", root) == 1
        assert "this version is revoked: " in capsys.readouterr().out
    assert run("verify", f"{NAME}@1.1.0", "--root", root) == 0
    capsys.readouterr()
    assert run("list", "--root", root) == 0
    shown = capsys.readouterr().out
    assert "in use, REVOKED" in shown
    assert "tiny 1.2.0 is revoked: falls on stairs" in shown
    # Out of use it is a note, as nodes do not take it.
    caplog.clear()
    assert run(*command, "--install", "--activate") == 0
    assert "is revoked" not in caplog.text
    assert run("verify", "--root", root) == 0
    assert "this version is revoked: falls on stairs" in capsys.readouterr().out


def test_revocations_are_pulled_without_a_bundle(
    bundles: Bundles,
    signer: Signer,
    place: str,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push(signer.statement(tmp_path / "r.yaml", revocations(v1_2_0="falls on stairs")), place)
    command = ("pull", place, "--revocations", "--root", root)
    capsys.readouterr()
    assert run(*command) == 4
    assert "--revocations: expected public keys" in caplog.text
    assert run(*command, "--public-key", signer.public) == 0
    assert capsys.readouterr().out == "tiny 1.2.0 is revoked: falls on stairs\n"
    assert "tiny 1.2.0, which is in use, is revoked" in caplog.text
    assert run("verify", NAME, "current", "--root", root) == 1
    assert versions(root) == ["1.0.0", "1.1.0", "1.2.0"]
    for words in (("--install",), ("--channel", "stable")):
        assert run(*command, "--public-key", signer.public, *words) == 4
    tagged = ("pull", f"{place}:1.2.0", *command[2:], "--public-key", signer.public)
    assert run(*tagged) == 4


def test_damaged_statement_is_found_and_comes_again(
    bundles: Bundles,
    signer: Signer,
    place: str,
    pull: Pull,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push(signer.sign(bundles("1.3.0")), place)
    push(signer.statement(tmp_path / "r.yaml", revocations(v1_1_0="limps")), place)
    pull(f"{place}:1.3.0", signer.trusted, root=root)
    file = root / NAME / "statements/revoked.yaml"
    file.write_text("{", "utf-8")
    for args in (("activate", NAME, "1.0.0"), ("rollback", NAME), ("verify",)):
        caplog.clear()
        assert run(*args, "--root", root) != 0
        shown = caplog.text + capsys.readouterr().out
        assert "remove it, and the next pull brings it again" in shown
    file.unlink()
    pull(f"{place}:1.3.0", signer.trusted, root=root)
    assert run("rollback", NAME, "--root", root) == 0
    assert in_use(root)[0] == "1.0.0"


def test_signed_statement_allows_one_downgrade(
    bundles: Bundles, signer: Signer, place: str, pull: Pull, root: Path, tmp_path: Path, keys: Keys
) -> None:
    old, file = signer.sign(bundles("1.1.5")), tmp_path / "down.yaml"
    push(old, place)
    reference = f"{place}:1.1.5"
    signer.statement(file, downgrade(old))
    for trusted, text, match in (
        (signer.trusted, downgrade(old, version="1.1.0"), "expected a statement about"),
        (signer.trusted, downgrade(old, expires=when(days=-1)), "that has not expired"),
        (signer.trusted, revocations(), "expected a DowngradeStatement"),
        (None, downgrade(old), "expected public keys that check"),
        (Signer(*keys("other")).trusted, downgrade(old), "by a key of"),
    ):
        signer.statement(file, text)
        with pytest.raises((ToolError, BundleError), match=match):
            pull(reference, trusted, root=root, allow_downgrade=file)
    assert versions(root) == ["1.0.0", "1.1.0", "1.2.0"]
    signer.statement(file, downgrade(old))
    assert pull(reference, signer.trusted, root=root, allow_downgrade=file).is_new


def test_two_keys_are_in_force_while_one_replaces_the_other(
    bundles: Bundles, place: str, pull: Pull, keys: Keys, tmp_path: Path
) -> None:
    old, new = Signer(*keys("old")), Signer(*keys("new"))
    both = tmp_path / "both.pem"
    both.write_bytes(old.public.read_bytes() + new.public.read_bytes())
    push(old.sign(bundles("1.0.0")), place)
    push(new.sign(bundles("1.1.0")), place)
    rotating = Signer(new.private, both)
    assert pull(f"{place}:1.0.0", rotating.trusted).is_new
    assert pull(f"{place}:1.1.0", rotating.trusted).is_new
    with pytest.raises(BundleError, match="by a key of"):
        pull(f"{place}:1.0.0", new.trusted)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            ("kind: channel", "kind: policy"),
            "kind: expected one of channel, revocations, downgrade",
        ),
        (("serial: 1", "serial: 0"), "serial: expected a whole number >= 1"),
        (("serial: 1", "serial: true"), "serial: expected a whole number"),
        (("channel: stable", "channel: ../x"), "channel: expected text like"),
        (("digest: sha256", "digest: md5"), "digest: expected text like"),
        (("kind: channel", "kind: channel\nmore: 1"), "one of the keys"),
    ],
)
def test_statements_are_read_strictly(
    change: tuple[str, str], match: str, bundles: Bundles
) -> None:
    text = channel(bundles()).replace(*change)
    with pytest.raises(BundleError, match=match):
        parse_statement(text.encode(), "here")


def test_time_that_does_not_exist_is_refused(bundles: Bundles) -> None:
    text = channel(bundles(), expires="2026-02-30T00:00:00Z")
    with pytest.raises(BundleError, match="expires: expected a time that exists"):
        parse_statement(text.encode(), "here")


def test_statement_from_the_future_is_not_signed(
    bundles: Bundles, signer: Signer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(channel(bundles(), issued=when(days=1)), "utf-8")
    assert run("sign", file, "--key", signer.private) == 4
    assert "not in the future" in caplog.text


def test_examples_are_statements() -> None:
    files = sorted((Path(__file__).parents[5] / "examples/registry").glob("*.yaml"))
    kinds = [parse_statement(file.read_bytes(), file).kind for file in files]
    assert kinds == ["channel", "downgrade", "revocations"]


def test_contract_is_no_statement_and_statement_no_contract(
    bundles: Bundles, signer: Signer, place: str, tmp_path: Path
) -> None:
    assert run("sign", bundles() / "policy.yaml", "--key", signer.private) == 4
    file = tmp_path / "c.yaml"
    file.write_text(revocations(), "utf-8")
    assert run("push", file, place) == 4  # not signed
    signer.sign(file)
    assert run("push", file, place.replace(NAME, "other")) == 4
    file.write_text(downgrade(bundles()), "utf-8")
    signer.sign(file)
    assert run("push", file, place) == 4
