r"""The smallest change that fools a model, by steps to the nearest linear boundary.

$f$ are the logits, $y$ the class that an example is to leave, $q$ the dual of the norm
of the threat.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.adversarial.ascent import choose
from jaxinterp.adversarial.contract import (
    Attack,
    Perturbed,
    Stage,
)
from jaxinterp.adversarial.smallest import (
    Smallest,
    searched,
    smaller,
    smallest_of_clean,
)
from jaxinterp.adversarial.threat import NormBall, l2
from jaxinterp.checks import checked_integer, checked_real
from jaxinterp.objectives.score import margin
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables


class _State(NamedTuple):
    """What the attack carries from step to step.

    Attributes:
        change: the sum of all steps, `(batch, entries)`, without the overshoot.
        smallest: the answer, as soon as there is one.
    """

    change: Any
    smallest: Smallest


def deep_fool(
    apply_fn: ApplyFn,
    *,
    threat: NormBall | None = None,
    steps: int = 50,
    overshoot: float = 0.02,
    n_classes: int = 10,
) -> Attack:
    r"""Attacks by steps to the nearest boundary of the model made linear: DeepFool.

    $$l = \arg\min_{k \ne y} \frac{|f_k - f_y|}{\|\nabla (f_k - f_y)\|_q}, \qquad
    \delta \leftarrow \delta + \frac{|f_l - f_y|}{\|\nabla (f_l - f_y)\|_q}\,
    s(\nabla (f_l - f_y))$$

    at $P(x + (1 + \mathrm{overshoot})\,\delta)$, until another class leads. $s$ is the
    steepest change of norm 1, so this is the paper's algorithm for any norm. For a
    linear classifier one step is the smallest change there is, times 1.02, as long as
    no entry meets its bounds. Of other models it is an upper bound of the smallest
    change. The slope of an entry that its bounds stop counts as 0, so that the others
    go farther; the paper has no bounds.

    Cost: `n_classes` gradients a step. Called eagerly it stops when all examples are
    fooled; inside of `jax.jit` it takes all `steps`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        threat: the norm and the bounds, and with a radius the largest change that
            counts as a success; by default `l2()`, which has none.
        steps: the largest number of steps.
        overshoot: by how much farther than to the boundary the change goes.
        n_classes: the number of classes that are looked at: the target, and those of
            the others that have the largest logits at the point; all if there are
            fewer.

    Returns:
        An attack that is given the class to leave. Its `inputs` are those themselves,
        and `size` is infinite, where it was not fooled within the radius.

    Raises:
        TypeError: if `threat` is none, or when called, an input is not of real numbers.
        ValueError: if `steps` is not positive, `n_classes` is less than 2, or
            `overshoot` negative; when called, if inputs leave the bounds of the threat,
            or targets or outputs are not as `objectives.margin` needs them.

    References:
        Moosavi-Dezfooli et al., 2016, algorithm 2 [moosavi2016deepfool].

    Example:
        >>> from jaxinterp.adversarial import l2
        >>> apply_fn = lambda w, x: x @ w
        >>> attack = deep_fool(apply_fn, threat=l2(bounds=None))
        >>> result = attack(jnp.eye(2), jnp.array([[3.0, 1.0]]), jnp.array([0]))
        >>> round(float(result.size[0]), 4), round(1.02 * 2**0.5, 4)
        (1.4425, 1.4425)
    """
    threat = l2() if threat is None else threat
    stage = Stage.of("deep_fool", apply_fn, margin, threat, is_bounded=False)
    steps = checked_integer("steps", steps, 1, call="deep_fool")
    overshoot = checked_real("overshoot", overshoot, 0, call="deep_fool")
    n_classes = checked_integer("n_classes", n_classes, 2, call="deep_fool")

    def perturb(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Perturbed:
        scene = stage.scene(variables, inputs, target)
        smallest = smallest_of_clean(scene)
        return searched(
            "deep_fool",
            scene,
            _step,
            (scene.victim, overshoot, n_classes),
            _State(jnp.zeros_like(scene.rows), smallest),
            steps + 1,  # the last one looks at what the others made
            calls=1,
            is_done=_is_done,
        )

    return perturb


@jax.jit
def _is_done(state: _State) -> Any:
    return jnp.isfinite(state.smallest.size).all()


def _step(static: Any, constants: Any, state: _State, number: Any) -> tuple[Any, Any]:
    victim, overshoot, n_classes = static
    variables, threat, rows, target = constants
    here = jnp.clip(rows + (1 + overshoot) * state.change, *threat.bounds)
    outputs, pull = jax.vjp(functools.partial(victim.outputs, variables), here)
    looked = victim.judge(outputs, target)
    smallest = smaller(state.smallest, here, looked, threat.size(here - rows))
    gaps, slopes = _boundaries(outputs, pull, target, n_classes)
    slopes = threat.movable(here, slopes)
    step, is_flat = _nearest(threat, gaps.astype(rows.dtype), slopes)
    is_open = jnp.isinf(smallest.size)
    change = choose(is_open, state.change + step, state.change)
    low, high = threat.bounds
    change = jnp.clip(change, low - rows, high - rows)
    return _State(change, smallest), (looked.loss, is_flat & is_open)


def _boundaries(logits: Any, pull: Any, target: Any, n_classes: int) -> tuple[Any, Any]:
    """How far other classes are ahead, `(classes, batch)`, and the slopes of that."""
    n_others = min(n_classes, logits.shape[1]) - 1
    is_target = jnp.arange(logits.shape[1])[None] == target[:, None]
    others = jnp.where(is_target, -jnp.inf, logits)
    leads, classes = jax.lax.top_k(others, n_others)
    own = jnp.where(is_target, logits, 0).sum(axis=1, keepdims=True)
    seeds = jax.nn.one_hot(classes.T, logits.shape[1], dtype=logits.dtype)
    (slopes,) = jax.vmap(pull)(seeds - is_target[None].astype(logits.dtype))
    return (leads - own).T, slopes


def _nearest(threat: NormBall, gaps: Any, slopes: Any) -> tuple[Any, Any]:
    """The step to the nearest boundary, and whether there is no slope to any."""
    directions = jax.vmap(threat.steepest)(slopes)
    duals = (slopes * directions).sum(axis=2)
    has_slope = jnp.isfinite(duals) & (duals > 0)
    distances = jnp.where(
        has_slope, jnp.abs(gaps) / jnp.where(has_slope, duals, 1), jnp.inf
    )
    index = distances.argmin(axis=0)[None]
    distance = jnp.take_along_axis(distances, index, axis=0)[0]
    direction = jnp.take_along_axis(directions, index[:, :, None], axis=0)[0]
    is_flat = jnp.isinf(distance)
    return jnp.where(is_flat[:, None], 0, distance[:, None] * direction), is_flat
