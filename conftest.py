"""The global switches, which hold for the tests and for the package's doctests.

Programs are compiled with few optimizations, since each runs once and compiling takes
most of the time; the fixture `optimized` is for what may depend on it, and
`JAXINTERP_TEST_OPTIMIZED=1` for everything. float64 is on, because an oracle is only an
oracle in float64; `JAXINTERP_TEST_X64=0` turns it off, and the doctests must pass that
way too. Implicit rank promotion raises. Annotations of shapes are checked at run time
where beartype is installed. That warnings are errors stands in `pyproject.toml`.

What was compiled is kept in the user's cache folder, so that the second run compiles
little. `JAX_ENABLE_COMPILATION_CACHE=0` turns that off, and `JAX_COMPILATION_CACHE_DIR`
names another folder; the oldest entries go once it is larger than a bound.

This file lies at the root because pytest then reads it for the tests and for the
package alike, whichever of them is asked for.
"""

import hashlib
import importlib
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import platformdirs

# Keras reads its backend, and matplotlib its canvas, when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["MPLBACKEND"] = "Agg"

CACHE_BYTES = 2_000_000_000


def folder_of_programs() -> Path:
    """Where compiled programs are kept: a folder for each kind of processor."""
    processor = platform.processor() + platform.machine()
    if (description := Path("/proc/cpuinfo")).exists():
        lines = description.read_text().splitlines()
        processor += "".join(sorted({x for x in lines if x.startswith("flags")}))
    kind = hashlib.sha256(processor.encode()).hexdigest()[:12]
    return Path(platformdirs.user_cache_dir("jaxinterp")) / "test_programs" / kind


# JAX reads these when it is imported, and so do the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder_of_programs()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

jax.config.update("jax_enable_x64", os.environ.get("JAXINTERP_TEST_X64", "1") != "0")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_disable_most_optimizations",
    os.environ.get("JAXINTERP_TEST_OPTIMIZED", "0") == "0",
)

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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Deletes the programs that have not been read for longest, if they are too many."""
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    files = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
    files.sort(key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime), reverse=True)
    kept = 0
    for status, path in files:
        kept += status.st_size
        if kept > CACHE_BYTES:
            path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace: dict[str, Any]) -> None:
    """What an example may use without importing it: the names a reader knows."""
    doctest_namespace.update(jax=jax, jnp=jnp, np=np, ji=ji)
