# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The files for systemd and AppArmor, checked by the tools of both where these are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
UNIT = PACKAGE / "systemd" / "policy_inference@.service"
ANALYZE = "systemd-analyze"
MOST_EXPOSED = 2.0


def has(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} here")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return an instance of the unit, with all drop-ins and each of their lines."""
    drop_ins = tmp_path / "policy_inference@lite3.service.d"
    drop_ins.mkdir()
    shutil.copy(PACKAGE / "systemd" / "10-accelerator.conf", drop_ins)
    for name in ("20-secrets.conf", "30-network.conf"):
        text = (PACKAGE / "systemd" / name).read_text()
        (drop_ins / name).write_text(re.sub(r"^#(\w+=)", r"\1", text, flags=re.MULTILINE))
    return Path(shutil.copy(UNIT, tmp_path / "policy_inference@lite3.service"))


def output_of(*command: object) -> str:
    """Run a tool; return what it printed, errors included."""
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        text=True,
        timeout=60,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return f"{done.stdout}status {done.returncode}"


@has(ANALYZE)
def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    assert output_of(ANALYZE, "verify", unit) == "status 0"


@has(ANALYZE)
def test_systemd_rates_the_unit_as_hardened(unit: Path) -> None:
    found = output_of(ANALYZE, "security", "--offline=yes", unit)
    if "unrecognized option" in found:  # before systemd 250
        pytest.skip("this systemd-analyze rates only what runs")
    exposure = found.partition("Overall exposure level for ")[2].split()[1]
    assert float(exposure) <= MOST_EXPOSED


@has("systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to root")
def test_systemd_makes_the_user_of_the_unit_and_the_group_of_its_clients(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "sysusers.d"
    folder.mkdir(parents=True)
    shutil.copy(
        PACKAGE / "systemd" / "policy_inference.sysusers.conf", folder / "policy_inference.conf"
    )
    assert output_of("systemd-sysusers", f"--root={tmp_path}").endswith("status 0")
    (line,) = [
        line
        for line in (tmp_path / "etc" / "passwd").read_text().splitlines()
        if line.startswith("policy_inference:")
    ]
    assert line.endswith("nologin")
    groups = {
        line.split(":")[0]: line.split(":")[3]
        for line in (tmp_path / "etc" / "group").read_text().splitlines()
    }
    assert groups["policy_clients"] == groups["policy_inference"] == ""


@has("apparmor_parser")
def test_apparmor_compiles_the_profile() -> None:
    found = output_of(
        "apparmor_parser",
        "--skip-kernel-load",
        "--skip-cache",
        PACKAGE / "apparmor" / "policy_inference",
    )
    assert found.endswith("status 0")
    assert "Warning" not in found


def test_unit_and_profile_name_each_other() -> None:
    assert "AppArmorProfile=-policy_inference\n" in UNIT.read_text()
    assert "profile policy_inference " in (PACKAGE / "apparmor" / "policy_inference").read_text()


def unit_settings(file: Path) -> dict[str, str]:
    """Return the settings of a unit, the last of each name."""
    return dict(
        line.split("=", 1)
        for line in file.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )


def test_clients_reach_the_socket_and_no_file_of_the_service() -> None:
    found = unit_settings(UNIT)
    assert found["Group"] == found["User"] == "policy_inference"
    assert found["SupplementaryGroups"] == "policy_clients"
    assert found["ExecStart"].split()[-4:-1] == ["serve", "--socket-group", "policy_clients"]
    # Passed through, neither listed nor locked; nothing else is for a group or for others.
    assert found["RuntimeDirectoryMode"] == "0711"
    assert (found["UMask"], found["CacheDirectoryMode"]) == ("0077", "0700")


def test_secrets_come_from_a_folder_that_the_profile_denies() -> None:
    profile = (PACKAGE / "apparmor" / "policy_inference").read_text()
    lines = re.findall(
        r"LoadCredential=(\S+):(\S+)", (PACKAGE / "systemd" / "20-secrets.conf").read_text()
    )
    assert {name for name, _ in lines} == {"token", "tls.key"}
    assert all(file == f"/etc/policy_inference/secrets/{name}" for name, file in lines)
    rules = {tuple(line.split()) for line in profile.splitlines()}
    assert ("deny", "/etc/policy_inference/secrets/**", "r,") in rules
    assert ("/run/credentials/policy_inference@*.service/*", "r,") in rules
