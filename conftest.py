"""The global switches, which hold for the tests and for the package's doctests.

float64 is on, because an oracle is only an oracle in float64; `JAXINTERP_TEST_X64=0`
turns it off, and the doctests must pass that way too. Implicit rank promotion raises.
Every annotation of the package is checked at run time where beartype is installed. That
warnings are errors stands in `pyproject.toml`.

This file lies at the root because pytest then reads it for the tests and for the
package alike, whichever of them is asked for.
"""

import importlib
import importlib.util
import os
from typing import Any

# Keras reads its backend, and matplotlib its canvas, when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["MPLBACKEND"] = "Agg"

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

jax.config.update("jax_enable_x64", os.environ.get("JAXINTERP_TEST_X64", "1") != "0")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The hook sees only what is imported after it, so the package is imported here, and not
# by whichever test happens to come first.
if importlib.util.find_spec("beartype") is not None:
    jaxtyping.install_import_hook("jaxinterp", "beartype.beartype")
ji = importlib.import_module("jaxinterp")


@pytest.fixture(autouse=True)
def names_in_examples(doctest_namespace: dict[str, Any]) -> None:
    """What an example may use without importing it: the names a reader knows."""
    doctest_namespace.update(jax=jax, jnp=jnp, np=np, ji=ji)
