# SPDX-License-Identifier: Apache-2.0
"""What every test may use: a replayable random generator, the shared data, and strict skips."""

import os
import secrets
import zlib
from collections.abc import Generator
from pathlib import Path

# Before numpy and torch start their threads: tests run beside each other, on a core each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

# No test may fail because the machine is busy: neither a deadline nor a check of the time to draw.
hypothesis.settings.register_profile(
    "codeq",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("codeq")

_SEED = int(os.environ.get("CODEQ_SEED") or secrets.randbits(32))
_SHARED = Path(os.environ.get("CODEQ_SHARED") or Path(__file__).parents[2] / "shared")
_REQUIRE_TOOLS = bool(os.environ.get("CODEQ_REQUIRE_TOOLS"))


def pytest_report_header() -> str:
    return f"random tests: CODEQ_SEED={_SEED} replays them"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that needs a real board runs only when it is asked for by its marker."""
    if "board" in config.getoption("markexpr"):
        return
    unasked = pytest.mark.skip(reason="needs a real board: ask for it with -m board")
    for item in items:
        if item.get_closest_marker("board"):
            item.add_marker(unasked)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whoever uses the shared data has the marker `data`."""
    if "shared" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.data)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CODEQ_REQUIRE_TOOLS=1 a skipped test fails: what CI installed must be used.

    Boards and data sets that are not in the checkout are no tools: their tests may skip.
    """
    report = yield
    may_skip = item.get_closest_marker("board") or item.get_closest_marker("data")
    if _REQUIRE_TOOLS and report.skipped and not may_skip:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CODEQ_REQUIRE_TOOLS is set, but the test skips itself: {reason}"
    return report


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the session's seed and the test's name, not on test order."""
    print(f"replay with CODEQ_SEED={_SEED}")  # captured: shown only when the test fails
    return np.random.default_rng([_SEED, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the shared data sets and models; the test is skipped where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip("no shared data: set CODEQ_SHARED, or put it at ../shared beside the checkout")
    return _SHARED.resolve()
