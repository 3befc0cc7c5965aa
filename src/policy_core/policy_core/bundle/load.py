# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Load a bundle: find its folder, check signature and contract, resolve names, read its arrays.

What only chunk policies or sets need is imported for them alone: a joint policy's node has it not.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    SET_FILE,
    AnyBundle,
    B,
    Bundle,
    HostedContract,
    SetBundle,
)
from policy_core.bundle.contract import NAME
from policy_core.bundle.kinds import CONTRACT_KINDS, DEFAULT_KIND
from policy_core.bundle.record import require_recorded
from policy_core.bundle.resolve import resolve
from policy_core.bundle.schema import Found, Reader, parse_yaml, read_bytes
from policy_core.bundle.set_contract import SetContract, SetFile, SetMember
from policy_core.bundle.store import CURRENT, installed_folder, store_root
from policy_core.errors import BundleError, PolicyError, Problem, did_you_mean

if TYPE_CHECKING:  # only one who has keys needs the library that checks signatures
    from policy_core.bundle.signature import TrustedKeys

C = TypeVar("C", bound=AnyContract)
_MEMBERS = "members."
"""Before a member's name in the keys of a set."""
_SHARE = Path("share", "policy_inference", "config", "bundles")


@overload
def load_bundle(
    bundle: Path | str, trusted: TrustedKeys | None = None, *, sha256: str | None = None
) -> AnyBundle: ...


@overload
def load_bundle(
    bundle: Path | str,
    trusted: TrustedKeys | None = None,
    *,
    kind: type[B],
    instead: str = "",
    sha256: str | None = None,
) -> B: ...


def load_bundle(
    bundle: Path | str,
    trusted: TrustedKeys | None = None,
    *,
    kind: type[Any] | None = None,
    instead: str = "",
    sha256: str | None = None,
) -> Bundle:
    """Read and check a bundle; model files are verified when a backend asks for them.

    A folder holds a policy (`policy.yaml`) or a policy set (`set.yaml`), never both.

    Args:
        bundle: Its folder as a path; as text also the name of an installed one (`bundle_folder`).
        trusted: The keys of which one must have signed that file; None needs no signature. What is
            parsed is what was checked: the file is read once. A set states the hashes of its
            members' contracts, so its signature is theirs.
        kind: Which kind of bundle it must be, `Bundle` for any; None takes any policy, and no set.
        instead: What to do with a policy of another kind, in the words of an error.
        sha256: Of the contract that is meant; None takes any.

    Raises:
        BundleError: With everything that is wrong, or there is no such signature, or the policy is
            of another kind.
        PolicyError: As `bundle_folder`.
    """
    folder, is_installed = (bundle, False) if isinstance(bundle, Path) else _found(bundle)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BundleError(Problem(file=str(folder), expected="a bundle folder", found=found))
    file = _contract_file(folder)
    content = read_bytes(file)
    if sha256 not in (None, actual := hashlib.sha256(content).hexdigest()):
        raise BundleError(
            Problem(
                file=str(file),
                expected=f"sha256 {sha256}, as just before",
                found=actual,
                remedy="load it again when no program writes to it any more",
            )
        )
    signed_by = None if trusted is None else trusted.signer(file, content)
    if file.name == SET_FILE:
        if kind is None or not issubclass(SetBundle, kind):
            raise _other_kind(file, "set", kind, instead)
        loaded_set = _loaded_set(file, content, signed_by)
        if is_installed:
            require_recorded(folder, loaded_set.contract, loaded_set.sha256)
        return loaded_set
    contract = parse_contract(content, file)
    loaded = CONTRACT_KINDS[contract.kind].bundle.read(folder, contract, content, signed_by)
    if is_installed:
        require_recorded(folder, contract, loaded.sha256)
    if kind is not None and not isinstance(loaded, kind):
        raise _other_kind(file, contract.kind, kind, instead)
    return loaded


def _contract_file(folder: Path) -> Path:
    """Return the file that says what a folder holds.

    Raises:
        BundleError: There are two.
    """
    if not (folder / SET_FILE).exists():
        return folder / CONTRACT_FILE
    if (folder / CONTRACT_FILE).exists():
        raise BundleError(
            Problem(
                file=str(folder),
                expected=f"a policy ({CONTRACT_FILE}) or a set of policies ({SET_FILE})",
                found="both",
                remedy="give the set a folder of its own",
            )
        )
    return folder / SET_FILE


@overload
def parse_contract(content: bytes, file: object) -> AnyContract: ...


@overload
def parse_contract(content: bytes, file: object, *, kind: type[C], instead: str = "") -> C: ...


def parse_contract(
    content: bytes,
    file: object,
    *,
    kind: type[Any] | None = None,
    instead: str = "",
) -> AnyContract:
    """Check the content of a `policy.yaml` without looking at the files that it names.

    Args:
        content: Of the file.
        file: What messages call it.
        kind: Which kind of contract it must be; None takes any.
        instead: As for `load_bundle`.

    Raises:
        BundleError: With everything that is wrong, or the policy is of another kind.
    """
    reader, value = Reader(str(file)), parse_yaml(content, file)
    contract = _checked(value, reader)
    if reader.problems or contract is None:
        raise BundleError(*reader.problems)
    if kind is not None and not isinstance(contract, kind):
        raise _other_kind(file, contract.kind, kind, instead)
    return contract


def parse_hosted(content: bytes, file: Path, read: Callable[[str], bytes]) -> HostedContract:
    """Check the content of a `policy.yaml`, or of a `set.yaml` that has its members in its folder.

    Args:
        content: Of the file.
        file: Which; for a set its name decides, and messages call it so.
        read: Gives the bytes of a file of the same folder by its name; called for the contracts of
            members only.

    Raises:
        BundleError: With everything that is wrong, or a member lies elsewhere.
        Exception: What `read` raises.
    """
    if file.name != SET_FILE:
        return parse_contract(content, file)

    def contract_of(key: str, member: SetMember) -> AnyContract:
        folder = posixpath.normpath(member.bundle)
        if folder.startswith(("/", "..")) or folder == "." or _is_version(member.bundle):
            raise BundleError(
                Problem(
                    file=str(file),
                    key=f"{key}.bundle",
                    expected="a folder in that of the set, so that both are one version",
                    found=member.bundle,
                    remedy="`model_tools pin SET --output FOLDER` writes the set with all its "
                    "members",
                )
            )
        inside = file.parent / folder / CONTRACT_FILE
        of = read(f"{folder}/{CONTRACT_FILE}")
        _require_meant(file, key, member, inside, of)
        return parse_contract(of, inside)

    return _resolved_set(content, file, contract_of)


def _checked(value: Any, reader: Reader) -> AnyContract | None:
    """Return the contract resolved; None, or problems in `reader`, where something is wrong."""
    name = value.get("kind") if isinstance(value, Mapping) else None
    kind = CONTRACT_KINDS.get(
        DEFAULT_KIND if name is None else name if isinstance(name, str) else ""
    )
    if kind is None:
        reader.problem("kind", f"one of {', '.join(CONTRACT_KINDS)}", name)
        return None
    contract: AnyContract | None = reader.section(kind.contract, value)
    if contract is not None:
        contract = resolve(contract, reader)
        kind.validate(contract, reader)
    return contract


def _loaded_set(file: Path, content: bytes, signed_by: str | None) -> SetBundle:
    """Return a set and its members.

    Raises:
        BundleError: With everything that is wrong with either.
    """
    members = dict[str, AnyBundle]()

    def contract_of(key: str, member: SetMember) -> AnyContract:
        loaded = _loaded_member(file, key, member)
        members[key.removeprefix(_MEMBERS)] = loaded
        return loaded.contract

    contract = _resolved_set(content, file, contract_of)
    return SetBundle(
        path=file.parent, contract=contract, content=content, signed_by=signed_by, members=members
    )


def _resolved_set(
    content: bytes, file: Path, contract_of: Callable[[str, SetMember], AnyContract]
) -> SetContract:
    """Return the contract of a set.

    Args:
        content: Of `set.yaml`.
        file: What messages call it.
        contract_of: Gives the contract of a member by its key in the set.

    Raises:
        BundleError: With everything that is wrong with the set and its members.
    """
    from policy_core.bundle.resolve_set import resolve_set
    from policy_core.bundle.validate_set import validate_set

    reader, value = Reader(str(file)), parse_yaml(content, file)
    stated: SetFile | None = reader.section(SetFile, value)
    if stated is None:
        raise BundleError(*reader.problems)
    validate_set(stated, reader)
    contracts = dict[str, AnyContract]()
    for name, member in stated.members.items():
        key = f"{_MEMBERS}{name}"
        try:
            contracts[name] = contract_of(key, member)
        except BundleError as error:
            reader.problems += error.problems
        except PolicyError as error:
            reader.problem(f"{key}.bundle", "an installed bundle", Found(str(error)))
    if reader.problems:
        raise BundleError(*reader.problems)
    contract = resolve_set(stated, contracts, reader)
    if contract is None:
        raise BundleError(*reader.problems)
    return contract


def member_folder(folder: Path, bundle: str) -> Path:
    """Return the folder of a member's bundle, as `set.yaml` in a folder names it.

    Raises:
        PolicyError: It is an installed version that is not there.
    """
    return _found(bundle)[0] if _is_version(bundle) else folder / bundle


def _is_version(bundle: str) -> bool:
    """Return whether a member is an installed version, NAME@VERSION."""
    return "@" in bundle and os.sep not in bundle


def _loaded_member(file: Path, key: str, member: SetMember) -> AnyBundle:
    """Return the bundle of a member, whose contract is the one that the set means."""
    folder = member_folder(file.parent, member.bundle)
    inside = folder / CONTRACT_FILE
    _require_meant(file, key, member, inside, read_bytes(inside))
    return load_bundle(folder, sha256=member.sha256)


def _require_meant(file: Path, key: str, member: SetMember, inside: Path, content: bytes) -> None:
    """Raise BundleError unless the contract of a member is the one that the set states."""
    if (actual := hashlib.sha256(content).hexdigest()) != member.sha256:
        raise BundleError(
            Problem(
                file=str(file),
                key=f"{key}.sha256",
                expected=f"{actual}, the hash of {inside}",
                found=member.sha256,
                remedy="get the bundle that the set was made with, or state this hash and sign "
                "the set again",
            )
        )


def _other_kind(file: object, found: str, wanted: type[Any] | None, instead: str) -> BundleError:
    names: dict[Any, str] = {SetBundle: "set"}
    for name, kind in CONTRACT_KINDS.items():
        names |= {kind.contract: name, kind.bundle: name}
    expected = " or ".join(CONTRACT_KINDS) if wanted is None else names[wanted]
    node = "policy_set_node" if found == "set" else CONTRACT_KINDS[found].node
    remedy = instead or f"{node} runs this policy"
    return BundleError(
        Problem(file=str(file), key="kind", expected=expected, found=found, remedy=remedy)
    )


def bundle_folder(name_or_path: str) -> Path:
    """Return the folder of a bundle given by path, or by name where it is installed.

    `NAME@VERSION` is an installed version; `NAME` the one that is in use, else, where none is
    installed, the bundle that comes with this package, in the first prefix of AMENT_PREFIX_PATH
    that has it, or in that of this Python.

    Raises:
        PolicyError: It is none of these, or the version in use is not known, or was not installed
            as this bundle and version.
    """
    folder, is_installed = _found(name_or_path)
    if is_installed:
        file = _contract_file(folder)
        content = read_bytes(file)
        contract = parse_hosted(content, file, lambda name: read_bytes(folder / name))
        require_recorded(folder, contract, hashlib.sha256(content).hexdigest())
    return folder


def _found(name_or_path: str) -> tuple[Path, bool]:
    """Return the folder, and whether it is said to be an installed version."""
    folder = Path(name_or_path).expanduser()
    if os.sep in name_or_path or folder.exists():
        return folder, False
    name, at, version = name_or_path.partition("@")
    if bool(at) == bool(version) and (at or re.fullmatch(NAME, name)):
        installed = installed_folder(name, version)
        if installed is not None:
            return installed, True
    shipped = _shipped()
    if shipped and (shipped / name_or_path).is_dir():
        return shipped / name_or_path, False
    names = sorted({*shipped_names(), *_in_use()})
    listed = ", ".join(names) or "none; source the workspace"
    raise PolicyError(
        f"bundle: expected a bundle folder or one of the installed bundles "
        f"({listed}), found {name_or_path!r}, which is not in "
        f"{Path.cwd()} either{did_you_mean(name, names)}"
    )


def shipped_names() -> list[str]:
    """Return the names of the bundles that come with this package."""
    shipped = _shipped()
    return sorted(entry.name for entry in shipped.iterdir() if entry.is_dir()) if shipped else []


def _shipped() -> Path | None:
    """Return the folder of these bundles, in the first prefix that has it.

    The last prefix is the one of this Python, in which pip installs a wheel's data.
    """
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    prefixes.append(sysconfig.get_path("data"))
    return next((path for prefix in prefixes if (path := Path(prefix, _SHARE)).is_dir()), None)


def _in_use() -> set[str]:
    return {link.parent.name for link in store_root().glob(f"*/{CURRENT}")}
