# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models in few bits: judged by the report on walking that their bundle carries."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.verified import sha256_file
from policy_inference.machine.machine import Machine
from policy_inference.machine.system import describe_system
from policy_inference.self_test.document import document
from policy_inference.self_test.measuring import Durations
from policy_inference.self_test.text import lines
from testkit.wording import check_wording

from ..machine_tree import machine
from .bundles import HELD, contract_in, keep_comparison, put_contract, two_joint_bundle, vendor_arm
from .conftest import Test, failed_names, failing_checks, missing_evidence
from .vendor import Device

FELL = {"what": "walks cut short", "value": 1.0, "limit": 0.0, "at_least": False, "where": "fell"}
NOT_MEASURED = {**FELL, "what": "largest tilt, degrees", "value": None}


@pytest.fixture
def integer_bundle(tmp_path: Path) -> Path:
    return two_joint_bundle(tmp_path / "integers", precision="w8a8")


def test_integers_that_walked_hold(test: Test, integer_bundle: Path) -> None:
    keep_comparison(integer_bundle, "vendor")
    found = test(integer_bundle)
    assert found, found.error
    assert found.verdict is not None
    check_wording(*(check.what for check in found.verdict.checks if "cut" in check.what))


def test_integers_without_a_report_are_not_judged_and_the_remedy_is_said(
    test: Test, integer_bundle: Path
) -> None:
    found = test(integer_bundle)
    check_wording([*lines(found)][-1], missing_evidence(found))


NO_REPORT: dict[str, dict[str, Any]] = {
    "other model": {"sha256": "0" * 64},
    "other contract": {"contract_sha256": "0" * 64},
    "no walks": {"closed_loop": [], "closed_loop_checks": []},
}


@pytest.mark.parametrize("case", [*NO_REPORT, "integers", "changed by hand"])
def test_a_report_that_says_nothing_about_this_model_is_none(
    test: Test, integer_bundle: Path, vendor_device: Device, case: str
) -> None:
    vendor_device.run_ms = lambda time_s: 1000.0  # few runs: speed is not what counts here
    keep_comparison(
        integer_bundle, "vendor", NO_REPORT.get(case), "int8" if case == "integers" else "fp32"
    )
    if case == "changed by hand":
        file = integer_bundle / "reports" / "comparison_vendor.json"
        file.write_text(file.read_text("utf-8").replace("1.0", "0.0") + " ", "utf-8")
    check_wording(missing_evidence(test(integer_bundle)))


@pytest.mark.parametrize("check", [FELL, NOT_MEASURED])
def test_integers_that_fell_fail(test: Test, integer_bundle: Path, check: dict[str, Any]) -> None:
    keep_comparison(integer_bundle, "vendor", {"closed_loop_checks": [HELD, check]})
    (fell,) = failing_checks(test(integer_bundle))
    assert fell.what == f"walking: {check['what']}"
    assert fell.where == "fell, reports/comparison_vendor.json"


@pytest.mark.parametrize("precision", ["W8A8", "fp8"])
def test_every_other_precision_needs_a_report_however_it_is_spelled(
    test: Test, tmp_path: Path, precision: str
) -> None:
    limits = {"vendor": {"mae": 1e-3}}
    found = test(two_joint_bundle(tmp_path / "few", precision=precision, limits=limits))
    assert missing_evidence(found).startswith("walking: ")


@pytest.fixture
def simulated_bundle(tmp_path: Path) -> Path:
    """A bundle with what was compiled for a device and for its simulator in one order."""
    folder = two_joint_bundle(tmp_path / "compiled", precision="w8a8", backend="simulated")
    contract = contract_in(folder)
    artifacts = contract["model"]["artifacts"]
    (folder / "policy.zip").write_bytes(b"what the simulator builds from")
    artifacts["simulated"] |= {"made": "w8a8 over 300 rows", "tool": "toolkit 1"}
    artifacts["simulator"] = artifacts["simulated"] | {"file": "policy.zip", "sha256": "1" * 64}
    put_contract(folder, contract)
    keep_comparison(folder, "simulator")
    return folder


def test_what_the_simulator_walked_counts_for_the_device(
    test: Test, simulated_bundle: Path
) -> None:
    found = test(simulated_bundle, "simulated")
    assert found, found.verdict or found.error
    assert found.verdict is not None
    assert any("reports/comparison_simulator.json" in check.where for check in found.verdict.checks)


def test_what_the_simulator_walked_with_another_order_does_not_count(
    test: Test, simulated_bundle: Path
) -> None:
    contract = contract_in(simulated_bundle)
    contract["model"]["artifacts"]["simulated"]["made"] = "w8a8 over 30 rows"
    put_contract(simulated_bundle, contract)
    check_wording(missing_evidence(test(simulated_bundle, "simulated")))


POLICY = "BPU_ACTPolicy_TransformerLayers"
ROWS = 5
CHUNKS_AT_RATE = 76
"""In 10 s, one whenever 4 steps of 33 333 333 ns are used up."""


def test_device_that_is_right_and_fast_holds_with_the_time_of_each_graph(
    test: Test, tmp_path: Path
) -> None:
    found = test(vendor_arm(tmp_path / "arm"))
    assert found, found.error
    told = json.loads(json.dumps(document(found), allow_nan=False))
    assert told["parity"]["count"] == told["parity_again"]["count"] == ROWS
    assert told["parity"]["outputs"]["Actions"]["max_abs"] < 1e-5
    assert list(told["artifacts"]) == [
        "BPU_ACTPolicy_VisionEncoder_16x24",
        "BPU_ACTPolicy_VisionEncoder_12x16",
        POLICY,
    ]
    assert told["back_to_back"]["max_s"] == pytest.approx(0.6e-3)  # three graphs
    assert told["graphs"][POLICY]["max_s"] == pytest.approx(0.2e-3)
    assert told["graphs"]["preprocessing"]["max_s"] == pytest.approx(0.0, abs=1e-9)
    assert told["at_rate"]["ticks"] == CHUNKS_AT_RATE


@pytest.mark.parametrize(
    ("graph_ms", "damp_after_s", "holds"),
    [(40.0, 1.0, True), (50.0, 1.0, False), (40.0, 0.1, False)],
)
def test_chunk_must_be_there_before_the_last_one_is_used_up_and_before_waiting_is_a_fault(
    test: Test,
    tmp_path: Path,
    vendor_device: Device,
    graph_ms: float,
    damp_after_s: float,
    holds: bool,
) -> None:
    vendor_device.run_ms = lambda time_s: graph_ms
    changes: dict[str, Any] = {"safety.damp_after_s": damp_after_s}
    found = test(vendor_arm(tmp_path / "arm", **changes))
    assert bool(found) is holds
    check_wording(failed_names(found))


@pytest.mark.parametrize(
    ("precision", "axes", "change"),
    [
        pytest.param("fp32", 4, lambda output: output[..., ::-1].copy(), id="mirrored features"),
        pytest.param("int8", 3, lambda output: np.sign(output) * 0.4, id="a few values"),
    ],
)
def test_graph_that_computes_something_else_fails(
    test: Test,
    tmp_path: Path,
    vendor_device: Device,
    precision: str,
    axes: int,
    change: Callable[[Any], Any],
) -> None:
    def change_one(time_s: float, output: Any) -> None:
        if output.ndim == axes:
            output[:] = change(output)

    vendor_device.change = change_one
    check_wording(failed_names(test(vendor_arm(tmp_path / "arm", precision=precision))))


def test_golden_rows_that_are_all_the_same_are_not_judged(test: Test, tmp_path: Path) -> None:
    folder = vendor_arm(tmp_path / "arm")
    with np.load(folder / "golden.npz") as data:
        arrays = {name: np.repeat(array[:1], ROWS, axis=0) for name, array in data.items()}
    before = sha256_file(folder / "golden.npz")
    np.savez(folder / "golden.npz", **arrays)  # type: ignore[arg-type]  # taken for its own flag
    contract = folder / "policy.yaml"
    contract.write_text(
        contract.read_text("utf-8").replace(before, sha256_file(folder / "golden.npz")), "utf-8"
    )
    check_wording(missing_evidence(test(folder)))


def test_every_run_is_in_the_bin_between_whose_edges_it_is() -> None:
    each_ns = (10.0 ** np.random.default_rng(0).uniform(2.5, 9.5, 1000)).astype(int).tolist()
    edges_s, counts = Durations(each_ns).histogram()
    each_s = np.array(each_ns) * 1e-9
    for low_s, high_s, count in zip(edges_s[:-1], edges_s[1:], counts, strict=True):
        assert count == ((each_s >= low_s) & (each_s < high_s)).sum()
    assert sum(counts) == 1000
    assert counts[0] > 0
    assert counts[-1] > 0
    for nanoseconds in (0, 1, 10**12):
        assert Durations([nanoseconds]).histogram()[1] == [1]


def test_a_board_is_called_what_its_device_tree_calls_it(tmp_path: Path) -> None:
    files = {"/proc/device-tree/model": "ROCK 5B\0", "/proc/cpuinfo": "processor\t: 0\n"}
    system = describe_system(machine(tmp_path, files))
    assert (system["board"], system["cpu"]) == ("ROCK 5B", None)
    assert socket.gethostname() not in describe_system(Machine()).values()
