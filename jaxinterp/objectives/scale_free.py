"""A score that does not change when the outputs are multiplied by a number.

A network whose logits were multiplied by 1000 decides as before, but its softmax is
exactly 0 or 1 in floating point: `log_probability` has no slope left, and an attack
that follows it stands still. `margin` keeps its direction; this score keeps its value.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.objectives.score import margin


def difference_of_logits_ratio(
    outputs: Float[Array, "batch classes"], target: Any
) -> Float[Array, " batch"]:
    r"""Returns the margin of the target, relative to the spread of the largest outputs.

    $$\frac{z_y - \max_{i \ne y} z_i}{z_{\pi_1} - z_{\pi_3}}$$

    with the outputs in falling order, $z_{\pi_1} \ge z_{\pi_2} \ge \dots$. It is the
    same for $a z + b$ with any $a > 0$, and lies in [0, 1] where the target leads.

    It is minus the loss DLR of the paper, which is raised by attacks. Where the three
    largest outputs are equal the denominator is 1; the authors' code adds 1e-12 to it
    everywhere.

    Args:
        outputs: the logits, `(batch, classes)`, of at least three classes.
        target: class indices, `(batch,)`, or one class for all examples.

    Raises:
        ValueError: if there are fewer than three classes.

    References:
        Croce and Hein, 2020, section 4.2 [croce2020reliable].

    Example:
        >>> outputs = jnp.array([[4.0, 1.0, 3.0, 0.0]])
        >>> round(float(difference_of_logits_ratio(outputs, jnp.array([0]))[0]), 4)
        0.3333
    """
    values = margin(outputs, target)
    if outputs.shape[1] < 3:
        raise ValueError(
            "score=difference_of_logits_ratio divides by the first output less the "
            f"third, and the model has {outputs.shape[1]}.\nWrite `score=margin`."
        )
    largest = jax.lax.top_k(outputs, 3)[0]
    spread = largest[:, 0] - largest[:, 2]
    return values / jnp.where(spread > 0, spread, 1)
