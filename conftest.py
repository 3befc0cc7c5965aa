# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of all packages share: recordings, and a ROS 2 domain for each test that talks."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

pytest_plugins = ("testkit.wording", "testkit.watching", "testkit.codes")
ROOT = Path(__file__).resolve().parent
# Humble and Jazzy know the first name alone; from Kilted on every process warns of it.
_OLD_FAST_DDS = os.environ.get("ROS_DISTRO") in ("humble", "jazzy")
FAST_DDS_PROFILES = f"{'FASTRTPS' if _OLD_FAST_DDS else 'FASTDDS'}_DEFAULT_PROFILES_FILE"
SHARED_DATA = ROOT.parent / "shared" / "data"
# What tools write in the checkout; see also names that begin with a dot.
_OWN = frozenset(("__pycache__", "build", "install", "log", "out"))


if importlib.util.find_spec("hypothesis"):  # .venv-lerobot has none
    from hypothesis import HealthCheck, settings

    # How much tests with made-up input try: the same each time here (`make test` asks for `quick`),
    # and always something else in `make acceptance`, which asks for `long`. The clock of a loaded
    # machine judges nothing.
    _CALM = (HealthCheck.too_slow, HealthCheck.data_too_large)
    _COMMON = settings(deadline=None, database=None, suppress_health_check=_CALM)
    settings.register_profile("quick", _COMMON, max_examples=10, derandomize=True)
    settings.register_profile("short", _COMMON, max_examples=50, derandomize=True)
    settings.register_profile("long", _COMMON, max_examples=10_000, print_blob=True)
    settings.load_profile("short")


LEFT_OUT = {
    "acceptance": "long tests: make acceptance",
    "pages": "pages of commands: make test-pages",
    "slow": "slow tests: make test-slow",
}
"""What `make test` leaves out, by marker, and what runs it."""
OTHER_ENVIRONMENTS = (
    "PyTorch, RKNN, LeRobot, Ray, C++: make test-torch, test-rknn, test-lerobot, test-ray, test-cpp"
)
_left_out = Counter[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--short` and `--say-left-out`, which targets of the Makefile give."""
    parser.addoption(
        "--say-left-out",
        action="store_true",
        help="say in the last line which tests this run leaves out, and what runs them",
    )
    parser.addoption(
        "--short",
        action="store_true",
        help="of each slow test with parameters only the first case",
    )
    parser.addoption(
        "--python-loop",
        action="store_true",
        help="without the native core, so that all ticks run in Python",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take signals that a shell or nohup ignores: tests send them to processes that they start.

    Processes that are started get the usual handler in the place of ours, and would inherit one
    that ignores. A terminal that closes ends no tests that nohup started.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, lambda *_: None),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if config.option.python_loop:
        _hide_native_core()


def _hide_native_core() -> None:
    """Have its import fail, here and in processes that are started."""
    folder = tempfile.mkdtemp(prefix="python_loop_")
    Path(folder, "policy_core_native.py").write_text('raise ImportError("hidden by --python-loop")')
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])


@pytest.hookimpl(tryfirst=True, specname="pytest_collection_modifyitems")
def pytest_count_left_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Count the tests that `make test` leaves out, before `-m` chooses."""
    markers = (next(filter(item.get_closest_marker, LEFT_OUT), None) for item in items)
    counts = Counter(filter(None, markers))
    if hasattr(config, "workeroutput"):  # pytest-xdist: only workers collect
        config.workeroutput["left_out"] = dict(counts)
    _left_out.update(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a worker, which are those of each; one that crashed has none."""
    counts: dict[str, int] = getattr(node, "workeroutput", {}).get("left_out", {})
    for marker, count in counts.items():
        _left_out[marker] = count


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say what was left out, in the last line."""
    if config.option.say_left_out and not hasattr(config, "workerinput"):
        counts = [f"{_left_out[marker]} {text}" for marker, text in LEFT_OUT.items()]
        sys.stdout.write(f"left out: {'; '.join([*counts, OTHER_ENVIRONMENTS])}\n")


@pytest.hookimpl(trylast=True)  # `-m` has chosen before, and only what is left is counted
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order files for the workers; leave out long tests unless `-m` speaks of them."""
    # What forks comes before anything that talks over ROS 2. What talks comes next, then what
    # crosses packages: files that take long, which must not be all that is left at the end.
    groups = (
        {item.path for item in items if item.get_closest_marker("forks")},
        {item.path for item in items if item.path.is_relative_to(ROOT / "test" / "e2e")},
        {item.path for item in items if item.get_closest_marker("ros")},
        {item.path for item in items if item.path.is_relative_to(ROOT / "test")},
    )
    items.sort(
        key=lambda item: next(
            (place for place, paths in enumerate(groups) if item.path in paths), len(groups)
        )
    )
    for marker in {"acceptance", "pages"}:
        if marker not in config.option.markexpr:
            _leave_out(config, items, [item for item in items if item.get_closest_marker(marker)])
    if config.option.short:
        _leave_out(config, items, _later_cases_of_slow_tests(items))


def _later_cases_of_slow_tests(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return all cases but the first of each slow test."""
    tests, later = set[str](), list[pytest.Item]()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if test in tests and item.get_closest_marker("slow"):
            later.append(item)
        tests.add(test)
    return later


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give workers whole files, and two of them in turn all that simulates robots end to end.

    Each of these tests starts several processes; four at a time leave two cores too busy to keep
    any robot's deadlines.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class WholeFiles(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return f"e2e {crc32(file.encode()) % 2}" if file.startswith("test/e2e/") else file

        def remove_node(self, node: Any) -> str | None:
            # Of a worker that crashed pytest-xdist 3.8 gives others the files that are done as
            # well; who gets one has nothing to report, and then waits for ever.
            work = self.assigned_work[node]
            for file in [file for file, tests in work.items() if all(tests.values())]:
                del work[file]
            crashed: str | None = super().remove_node(node)
            return crashed

    return WholeFiles(config, log)


_crashed: set[str] = set()


@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport, sched: Any) -> None:
    """List a test that ended its worker as RERUN, where `--reruns` allows it, and not as failed.

    Another worker runs it again with the rest of its file, which pytest-rerunfailures does not know
    of pytest-xdist's scheduling by files. A test that crashes twice has failed.
    """
    if sched.config.option.reruns and crashitem not in _crashed:
        report.outcome = "rerun"  # type: ignore[assignment]  # of pytest-rerunfailures
    _crashed.add(crashitem)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print why each test that passed on its second run failed on its first."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.write_sep("_", report.nodeid)
        terminalreporter.write_line(report.longreprtext)


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], left_out: Sequence[pytest.Item]
) -> None:
    without = {id(item) for item in left_out}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if id(item) not in without]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of recordings beside the checkout; tests that need it skip without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no recordings: {SHARED_DATA} is not there (they are not published)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def lite3_data(shared_data: Path) -> Path:
    """Folder of the Lite3's policy, its rollout and its recordings."""
    return shared_data / "legged" / "lite3"


@pytest.fixture(scope="session", autouse=True)
def _no_litter() -> Iterator[None]:
    """Fail the session whose tests leave files in the checkout or in the working directory.

    Only in CI: elsewhere, it may be a person who works there.
    """
    if not os.environ.get("CI"):
        yield
        return
    before = _listed()
    yield
    litter = sorted(map(str, _listed() - before))
    assert not litter, f"tests left {', '.join(litter)}; write to tmp_path, and run there"


def _listed() -> set[Path]:
    """Return what lies in the checkout's folders and in the working directory.

    Less what has a place of its own there: environments, builds, results, caches.
    """
    found = set(Path.cwd().iterdir())
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _OWN]
        found.update(Path(folder, name) for name in (*folders, *files))
    return {path for path in found if not (path.name in _OWN or path.name.startswith("."))}


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep recordings of nodes away from the user's own, and what the user set from tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_HOME", str(tmp_path_factory.mktemp("ros_home")))
        patch.setenv("POLICY_INFERENCE_MODELS", str(tmp_path_factory.mktemp("models")))
        patch.delenv("POLICY_INFERENCE_PUBLIC_KEY", raising=False)
        # Lines are as long as where no terminal is; pytest-xdist sets one for its workers.
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _found_soon() -> Iterator[None]:
    """Let nodes find each other soon, in this process and in those that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FAST_DDS_PROFILES, str(ROOT / "test" / "fast_dds.xml"))
        yield


@pytest.fixture(autouse=True)
def _own_ros_domain(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a test marked `ros` a domain on this host that no other test uses meanwhile."""
    if request.node.get_closest_marker("ros") is None:
        yield
        return
    if importlib.util.find_spec("policy_msgs") is None:
        pytest.fail(
            "the workspace is not built or not sourced: "
            "make setup && . .venv/bin/activate && . install/setup.bash"
        )
    # Only here: the package is there where the workspace is built.
    from policy_inference.testing.domains import private_ros_domain

    with private_ros_domain():
        yield
