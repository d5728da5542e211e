"""The types that signatures speak in: what an argument is, not how it is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

# A model: `apply_fn(variables, inputs, *args, **kwargs) -> outputs`.
ApplyFn = Callable[..., Any]
# The weights of a model, any pytree of arrays.
Variables = Any
# A batch: an array, or a pytree of arrays, with the examples on the first axis.
Inputs = Any
# What a score needs to know beside the outputs, such as class indices `(batch,)` or one
# class for all examples.
Target = Any
# One key of `jax.random`.
Key = Any
# Images `(batch, ..., channels)`, floats in [0, 1].
Images = Any
# Which places of a model: an address, a glob on addresses, a selector, or a list of
# these.
Sites = str | Callable[[Any], bool] | Sequence[str | Callable[[Any], bool]]
