"""`jax.jit` for tests: many small programs, each run once.

What takes the time is compiling, and most of that is optimizing machine code that then
runs for a millisecond.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax

UNOPTIMIZED = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


OPTIMIZED = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}


def optimized(fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Returns `jax.jit(fn, **options)` that compiles as for users."""
    return jax.jit(fn, compiler_options=OPTIMIZED, **options)


def compiled(fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Returns `jax.jit(fn, **options)` that compiles four times as fast."""
    return jax.jit(fn, compiler_options=UNOPTIMIZED, **options)


def compiled_once(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `compiled(fn)`, which raises if it has to trace `fn` a second time."""
    chex.clear_trace_counter()  # it counts by name, and many functions share one
    return compiled(chex.assert_max_traces(fn, n=1))
