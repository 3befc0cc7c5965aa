# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Load a bundle: find the folder, check signature and contract, resolve names, read arrays.

Imports for chunk policies and sets are lazy, so that a joint policy's node never loads them.
"""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    SET_FILE,
    AnyBundle,
    B,
    Bundle,
)
from policy_core.bundle.contract import NAME
from policy_core.bundle.kinds import CONTRACT_KINDS, DEFAULT_KIND
from policy_core.bundle.resolve import resolve
from policy_core.bundle.schema import Reader, parse_yaml, read_bytes
from policy_core.bundle.store import CURRENT, installed_folder, require_recorded, store_root
from policy_core.errors import BundleError, PolicyError, Problem, did_you_mean

if TYPE_CHECKING:  # only configured keys need the library that checks signatures
    from policy_core.bundle.signature import TrustedKeys

C = TypeVar("C", bound=AnyContract)
PUBLIC_KEY_VARIABLE = "POLICY_INFERENCE_PUBLIC_KEY"
"""Environment variable that contains the path of a PEM file with public keys, or of a folder of
`*.pem` files.
"""
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
    """Return the bundle in a folder, read and checked; back ends verify model files on opening.

    A folder contains a policy (`policy.yaml`) or a policy set (`set.yaml`), never both.

    Args:
        bundle: Path of the folder; a string may also be the name of an installed bundle (see
            `bundle_folder`).
        trusted: Keys, one of which must have signed the contract; None requires no signature. The
            file is read once, so the bytes that are parsed are the ones that were checked. A set
            contains the hashes of its members' contracts, so its signature covers them.
        kind: Required bundle class; `Bundle` accepts any bundle, None any policy but no set.
        instead: Remedy in the error message if the policy is of a different kind.
        sha256: Expected hash of the contract; None accepts any.

    Raises:
        BundleError: The bundle is invalid, its signature is missing, or the policy is of a
            different kind; lists every problem.
        PolicyError: Same as `bundle_folder`.
    """
    folder, is_installed = (bundle, False) if isinstance(bundle, Path) else found_folder(bundle)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BundleError(Problem(file=str(folder), expected="a bundle folder", found=found))
    file = _contract_file(folder)
    content = read_bytes(file)
    if sha256 not in (None, actual := hashlib.sha256(content).hexdigest()):
        raise BundleError(
            Problem(
                file=str(file),
                expected=f"sha256 {sha256} (same as when first read)",
                found=actual,
                remedy="load it again when no program is writing to it",
            )
        )
    signed_by = None if trusted is None else trusted.signer(file, content)
    if file.name == SET_FILE:
        from policy_core.bundle.set_bundle import SetBundle, load_set

        if kind is None or not issubclass(SetBundle, kind):
            raise _other_kind(file, "set", kind, instead)
        loaded_set = load_set(file, content, signed_by)
        if is_installed:
            require_recorded(folder, loaded_set.contract, loaded_set.sha256)
        return loaded_set
    contract = parse_contract(content, file)
    loaded = CONTRACT_KINDS[contract.kind]().bundle.read(folder, contract, content, signed_by)
    if is_installed:
        require_recorded(folder, contract, loaded.sha256)
    if kind is not None and not isinstance(loaded, kind):
        raise _other_kind(file, contract.kind, kind, instead)
    return loaded


def trusted_keys(given: str = "") -> TrustedKeys | None:
    """Return the configured public keys; None if bundles need no signature.

    Args:
        given: Path of a PEM file, or of a folder of PEM files; "" for none. If the environment
            variable POLICY_INFERENCE_PUBLIC_KEY also names keys, only keys found in both places are
            trusted, so this argument can only make the check stricter.

    Raises:
        PolicyError: The configured files contain no Ed25519 public key, or have none in common.
    """
    named = os.environ.get(PUBLIC_KEY_VARIABLE)
    if named == "":
        raise PolicyError(
            f"{PUBLIC_KEY_VARIABLE}: expected the path of a public key, found "
            "nothing; unset it if bundles need no signature"
        )
    places = [place for place in (named, given) if place]
    if not places:
        return None
    from policy_core.bundle.signature import TrustedKeys, read_public_keys

    sets = [read_public_keys(Path(place).expanduser()) for place in places]
    common = {name: key for name, key in sets[0].items() if all(name in keys for keys in sets)}
    if not common:
        raise PolicyError(
            f"public key: expected one that is in both {' and '.join(places)} (both are "
            "configured), found none"
        )
    return TrustedKeys(common, " and ".join(places))


def _contract_file(folder: Path) -> Path:
    """Return the contract file in a folder.

    Raises:
        BundleError: The folder contains both `policy.yaml` and `set.yaml`.
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
    """Return the checked contract in a `policy.yaml`, without opening the files that it names.

    Args:
        content: Content of the file.
        file: File name for messages.
        kind: Required type of contract; None accepts any.
        instead: Same as for `load_bundle`.

    Raises:
        BundleError: The contract is invalid or of a different kind; lists every problem.
    """
    reader, value = Reader(str(file)), parse_yaml(content, file)
    contract = _checked(value, reader)
    if reader.problems or contract is None:
        raise BundleError(*reader.problems)
    if kind is not None and not isinstance(contract, kind):
        raise _other_kind(file, contract.kind, kind, instead)
    return contract


def _checked(value: Any, reader: Reader) -> AnyContract | None:
    """Return the resolved contract; if it is invalid, add problems to `reader` and return None."""
    name = value.get("kind") if isinstance(value, Mapping) else None
    found = CONTRACT_KINDS.get(
        DEFAULT_KIND if name is None else name if isinstance(name, str) else ""
    )
    if found is None:
        reader.problem("kind", f"one of {', '.join(CONTRACT_KINDS)}", name)
        return None
    kind = found()
    contract: AnyContract | None = reader.section(kind.contract, value)
    if contract is not None:
        contract = resolve(contract, reader)
        kind.validate(contract, reader)
    return contract


def _other_kind(file: object, found: str, wanted: type[Any] | None, instead: str) -> BundleError:
    from policy_core.bundle.set_bundle import SetBundle

    names: dict[Any, str] = {SetBundle: "set"}
    for name, kind in CONTRACT_KINDS.items():
        names |= {kind().contract: name, kind().bundle: name}
    expected = " or ".join(CONTRACT_KINDS) if wanted is None else names[wanted]
    node = "policy_set_node" if found == "set" else CONTRACT_KINDS[found]().node
    remedy = instead or f"{node} runs this policy"
    return BundleError(
        Problem(file=str(file), key="kind", expected=expected, found=found, remedy=remedy)
    )


def bundle_folder(name_or_path: str) -> Path:
    """Return the folder of a bundle, given its path or the name of an installed bundle.

    `NAME@VERSION` is an installed version; `NAME` is the version in use. If no version is
    installed, `NAME` is the bundle shipped with this package, in the first AMENT_PREFIX_PATH entry
    that contains shipped bundles, otherwise in this Python's prefix.

    Raises:
        PolicyError: There is no such bundle, the version in use is unknown, or the folder does not
            hold this bundle and version as installed.
    """
    folder, is_installed = found_folder(name_or_path)
    if is_installed:
        from policy_core.bundle.set_bundle import parse_hosted

        file = _contract_file(folder)
        content = read_bytes(file)
        contract = parse_hosted(content, file, lambda name: read_bytes(folder / name))
        require_recorded(folder, contract, hashlib.sha256(content).hexdigest())
    return folder


def found_folder(name_or_path: str) -> tuple[Path, bool]:
    """Return a bundle's folder, and whether that folder should contain an installed version.

    Same as `bundle_folder`, but does not check the installation record.

    Raises:
        PolicyError: There is no such bundle, or the version in use is unknown.
    """
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
        f"({listed}), found {name_or_path!r}, which does not exist in "
        f"{Path.cwd()} either{did_you_mean(name, names)}"
    )


def shipped_names() -> list[str]:
    """Return the names of the bundles shipped with this package."""
    shipped = _shipped()
    return sorted(entry.name for entry in shipped.iterdir() if entry.is_dir()) if shipped else []


def _shipped() -> Path | None:
    """Return the folder with the shipped bundles, from the first prefix that contains it.

    The last prefix is this Python's, where pip installs a wheel's data.
    """
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    prefixes.append(sysconfig.get_path("data"))
    return next((path for prefix in prefixes if (path := Path(prefix, _SHARE)).is_dir()), None)


def _in_use() -> set[str]:
    return {link.parent.name for link in store_root().glob(f"*/{CURRENT}")}
