"""Fixtures, and which tests are collected; the switches are in the root's file."""

import itertools
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chex
import jax
import jaxtyping
import numpy as np
import pytest

from tests import durations

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real weights, images and text; users do not have it."""
    if not REAL_DATA.is_dir():
        pytest.skip("../shared/data is absent: real weights are not shipped")
    return REAL_DATA


N_FILES = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_few_files() -> Iterator[None]:
    """Lets go of the programs of 16 files: all together they are gigabytes."""
    yield
    if next(N_FILES) % 16 == 0:
        jax.clear_caches()


Generators = list[tuple[np.random.Generator, Any]]


@pytest.fixture(scope="module", autouse=True)
def generators(request: pytest.FixtureRequest) -> Generators:
    """The random generators of a file, and their states once it was imported."""
    found = vars(request.module).values()
    drawing = [one for one in found if isinstance(one, np.random.Generator)]
    return [(one, one.bit_generator.state) for one in drawing]


@pytest.fixture(autouse=True)
def the_same_draws_in_any_order(generators: Generators) -> None:
    """Lets a test draw the same numbers alone, after others or in another process."""
    for generator, state in generators:
        generator.bit_generator.state = state


@pytest.fixture(autouse=True)
def traces_are_counted_from_zero() -> None:
    """Lets `chex.assert_max_traces` count in each test, not in all that look alike."""
    chex.clear_trace_counter()


@pytest.fixture
def optimized() -> Iterator[None]:
    """Compiles with all optimizations, as for users."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Stops checking annotations, as for users, so that our own messages show."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """Makes implicit dtype promotion raise.

    It cannot be global: flax and optax themselves mix a float32 default with float64
    inputs, so a test of our own arithmetic asks for it.
    """
    with jax.numpy_dtype_promotion("strict"):
        yield


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Keeps `--doctest-modules` from importing oracles and the scripts of peers."""
    if collection_path.suffix != ".py" or collection_path.name.startswith("test_"):
        return None
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Marks what reads real data, and leaves out what `-m` has to name.

    A default `-m "not peers"` would do the latter only until another `-m` is given.
    """
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)
    leave_a_few_cases(items)
    leave_what_took_long(items)
    unexplained = [item.nodeid for item in items if lacks_a_reason(item)]
    if unexplained:
        message = "Write `@pytest.mark.slow(reason=...)`, and why it has to be, at\n  "
        raise pytest.UsageError(message + "\n  ".join(unexplained))
    absent = {"peers", "slow"} - set(re.findall(r"\w+", config.getoption("markexpr")))
    kept, left_out = [], []
    for item in items:
        is_absent = any(marker.name in absent for marker in item.iter_markers())
        (left_out if is_absent else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def leave_a_few_cases(items: list[pytest.Item]) -> None:
    """Marks as slow all but one case of each test, or a twentieth of them.

    Which ones stay depends on the name of the test, so that of several tests with the
    same cases, such as a table of methods, each looks at others.
    """
    by_test: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not {"slow", "peers"} & {mark.name for mark in item.iter_markers()}:
            by_test[durations.function_of(item.nodeid)].append(item)
    for name, cases in by_test.items():
        count, most = len(cases), max(1, len(cases) // 20)
        if count == most:
            continue
        start = zlib.crc32(name.encode()) % count
        kept = {(start + i * count // most) % count for i in range(most)}
        reason = f"one of {count} cases of a test, of which {most} always run"
        for i in set(range(count)) - kept:
            cases[i].add_marker(pytest.mark.slow(reason=reason))


def leave_what_took_long(items: list[pytest.Item]) -> None:
    """Marks as slow the tests that `slow.txt` names."""
    named = set(durations.SLOW.read_text().split())
    reason = f"took more than {durations.MOST_SECONDS:g} seconds, see tests/slow.txt"
    for item in items:
        is_named = durations.function_of(item.nodeid) in named
        if is_named and not any(mark.name == "slow" for mark in item.iter_markers()):
            item.add_marker(pytest.mark.slow(reason=reason))


def lacks_a_reason(item: pytest.Item) -> bool:
    """Whether a test is slow and does not say why."""
    markers = item.iter_markers("slow")
    return any(not marker.kwargs.get("reason") or marker.args for marker in markers)
