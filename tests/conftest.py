"""Fixtures, and which tests are collected; the switches are in the root's file."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real weights, images and text; users do not have it."""
    if not REAL_DATA.is_dir():
        pytest.skip("../shared/data is absent: real weights are not shipped")
    return REAL_DATA


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
    """Marks what reads real data, and leaves peers out unless `-m` names them.

    A default `-m "not peers"` would do the latter only until another `-m` is given.
    """
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)
    if "peers" in config.getoption("markexpr"):
        return
    peers = [item for item in items if item.get_closest_marker("peers")]
    if peers:
        config.hook.pytest_deselected(items=peers)
        items[:] = [item for item in items if not item.get_closest_marker("peers")]
