"""What a message proposes to write: run, as a reader would."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp


def proposals(error: Any, **names: Any) -> list[Any]:
    """The values of the snippets of Python in the message of an error.

    Args:
        error: what `pytest.raises` caught.
        **names: what the reader has, by the names that the snippets use.
    """
    scope = {"jax": jax, "jnp": jnp, "np": np, "jaxinterp": jaxinterp, **names}
    # What is proposed as an argument, `score=...`, is run without its name.
    snippets = re.findall(r"`(?:\w+=(?!=))?([^`]+)`", str(error.value))
    return [eval(snippet, scope) for snippet in snippets]
