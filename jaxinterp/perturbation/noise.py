"""Random noise on inputs."""

from __future__ import annotations

from typing import Any, Literal

import jax

Scale = Literal["range", "absolute"]


def with_noise(key: Any, inputs: Any, noise_level: float, scale: Scale) -> Any:
    """Returns inputs with normal noise, the same for all examples of the batch.

    Args:
        key: the random key of the noise.
        inputs: an array, or a pytree of arrays, batch first.
        noise_level: the standard deviation of the noise.
        scale: whether it is a fraction of the range of each example, `"range"`, or in
            the units of the inputs, `"absolute"`.
    """
    leaves, tree = jax.tree.flatten(inputs)
    keys = jax.random.split(key, len(leaves))

    def disturb(key: Any, x: Any) -> Any:
        sigma: Any = noise_level
        if scale == "range":
            axes = tuple(range(1, x.ndim))
            low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
            sigma = noise_level * (high - low)
        noise = jax.random.normal(key, (1, *x.shape[1:]), x.dtype)
        return x + (sigma * noise).astype(x.dtype)

    return tree.unflatten([disturb(k, x) for k, x in zip(keys, leaves, strict=True)])
