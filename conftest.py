"""The global switches, which hold for the tests and for the package's doctests.

Programs are compiled with few optimizations, since each runs once and compiling takes
most of the time; the fixture `optimized` is for what may depend on it, and
`JAXINTERP_TEST_OPTIMIZED=1` for everything. float64 is on, because an oracle is only an
oracle in float64; `JAXINTERP_TEST_X64=0` turns it off, and the doctests must pass that
way too. Implicit rank promotion raises. Annotations of shapes are checked at run time
where beartype is installed. That warnings are errors stands in `pyproject.toml`.

What was compiled is kept for the next run, see `tests/program_cache.py`.

This file lies at the root because pytest then reads it for the tests and for the
package alike, whichever of them is asked for.
"""

import gc
import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

# Keras reads its backend, and matplotlib its canvas, when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["MPLBACKEND"] = "Agg"

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from tests import program_cache

jax.config.update("jax_enable_x64", os.environ.get("JAXINTERP_TEST_X64", "1") != "0")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_disable_most_optimizations",
    os.environ.get("JAXINTERP_TEST_OPTIMIZED", "0") == "0",
)

# Programs are not told which lines of Python they come from, which takes a twentieth of
# the time.
jax.config.update("jax_traceback_in_locations_limit", 0)

program_cache.switch_on()
pytest_plugins = ["tests.durations"]

# The hook sees only what is imported after it, so the package is imported here, and not
# by whichever test happens to come first. It wraps every function of a module, and
# tracing calls millions of small ones, so it is for modules that annotate shapes, which
# a static checker does not see; pyright checks the rest.
if importlib.util.find_spec("beartype") is not None:
    package = Path(__file__).parent / "jaxinterp"
    annotated = [
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for path in package.rglob("*.py")
        if "from jaxtyping import" in path.read_text()
    ]
    jaxtyping.install_import_hook(annotated, "beartype.beartype")
ji = importlib.import_module("jaxinterp")

# Tracing makes many objects that live; looking for garbage among them took an eighth of
# the time.
gc.freeze()
gc.set_threshold(100_000, 20, 100)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Deletes the programs that have not been read for longest, if there are many."""
    if not hasattr(session.config, "workerinput"):  # in one process of all
        program_cache.prune(program_cache.own_folder())


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace: dict[str, Any]) -> None:
    """What an example may use without importing it: the names a reader knows."""
    doctest_namespace.update(jax=jax, jnp=jnp, np=np, ji=ji)
