r"""The smallest Euclidean change that fools a model, by optimization.

$x$ is an input, $x'$ the changed one, $m(x')$ the margin by which the model still
decides as the attack does not want, $\kappa$ the confidence.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinterp.adversarial.contract import Attack, Perturbed, Stage
from jaxinterp.adversarial.smallest import (
    Smallest,
    searched,
    smaller,
    smallest_of_clean,
)
from jaxinterp.adversarial.threat import NormBall, l2
from jaxinterp.checks import (
    checked_integer,
    checked_positive,
    checked_real,
    is_traced,
)
from jaxinterp.objectives.score import margin
from jaxinterp.types import ApplyFn, Inputs, Key, Target, Variables

INSIDE = 0.999999  # of the range, or an entry at its bounds could never move


@dataclasses.dataclass(frozen=True)
class _Search:
    """The hyperparameters.

    Attributes:
        steps: the number of steps for each constant.
        learning_rate: the learning rate of Adam.
        first_constant: the first constant.
        confidence: the margin by which an adversarial example is to be one.
    """

    steps: int
    learning_rate: float
    first_constant: float
    confidence: float

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, with the constants of the authors."""
        return optax.adam(self.learning_rate)


class _State(NamedTuple):
    """What the attack carries from step to step.

    Attributes:
        angle: what is optimized, of which the tangent makes the changed inputs,
            `(batch, entries)`.
        adam: the state of the optimizer.
        constant: the weight of the margin, `(batch,)`.
        low: the largest constant that was too small.
        high: the smallest constant that was enough; infinite if there was none.
        is_fooled: whether this constant was enough.
        smallest: the answer so far.
    """

    angle: Any
    adam: Any
    constant: Any
    low: Any
    high: Any
    is_fooled: Any
    smallest: Smallest


def carlini_wagner(
    apply_fn: ApplyFn,
    *,
    threat: NormBall | None = None,
    steps: int = 1000,
    searches: int = 9,
    learning_rate: float = 0.01,
    first_constant: float = 1e-3,
    confidence: float = 0.0,
    targeted: bool = False,
) -> Attack:
    r"""Attacks by the smallest Euclidean change that an optimizer reaches.

    $$\min_w\; \|x' - x\|_2^2 + c \max(m(x') + \kappa, 0), \qquad
    x' = \frac{\mathrm{low} + \mathrm{high}}{2} +
    \frac{\mathrm{high} - \mathrm{low}}{2} \tanh w$$

    by Adam, for one constant $c$ after the other: ten times as large until an example
    is fooled, then halfway between the largest that was too small and the smallest that
    was enough. The margin $m$ is that of the target, with `targeted` that of the best
    other class over the target. An example is compared, and stops, by itself: nothing
    depends on the batch.

    Cost: `steps` times `searches` gradients. The authors take 10 000 steps; the change
    then is a little smaller. Memory is that of six inputs.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        threat: the bounds, which must be finite, and with a radius the largest change
            that counts as a success; by default `l2()`, which has none.
        steps: the number of steps for each constant.
        searches: the number of constants.
        learning_rate: the learning rate of Adam, in units of $w$.
        first_constant: the first constant.
        confidence: the margin $\kappa$ by which an example is to be adversarial, in
            units of the outputs.
        targeted: whether the target is the class that the attack wants.

    Returns:
        An attack. Its `inputs` are those themselves, and `size` is infinite, where the
        model was not fooled within the radius.

    Raises:
        TypeError: if `threat` is none, or when called, an input is not of real numbers.
        ValueError: if the norm of the threat is not `"l2"`, its bounds are not finite,
            `steps`, `searches`, `learning_rate` or `first_constant` is not positive, or
            `confidence` is negative; when called, if inputs leave the bounds of the
            threat, or targets or outputs are not as `objectives.margin` needs them.

    References:
        Carlini and Wagner, 2017, section VI.A [carlini2017towards].

    Example:
        >>> apply_fn = lambda w, x: x @ w
        >>> attack = carlini_wagner(apply_fn, steps=60, searches=5, learning_rate=0.1,
        ...                         first_constant=0.1)
        >>> result = attack(jnp.eye(2), jnp.array([[0.75, 0.25]]), jnp.array([0]))
        >>> bool(result.is_adversarial[0]), round(float(result.size[0]), 1)
        (True, 0.4)
    """
    name = "carlini_wagner"
    threat = l2() if threat is None else threat
    stage = Stage.of(
        name, apply_fn, margin, threat, is_targeted=targeted, is_bounded=False
    )
    _check_threat(threat)
    searches = checked_integer("searches", searches, 1, call=name)
    search = _Search(
        checked_integer("steps", steps, 1, call=name),
        checked_positive("learning_rate", learning_rate, call=name),
        checked_positive("first_constant", first_constant, call=name),
        checked_real("confidence", confidence, 0, call=name),
    )

    def perturb(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Perturbed:
        scene = stage.scene(variables, inputs, target)
        numbers = jnp.zeros(scene.rows.shape[:1], scene.rows.dtype)
        angle = _angle(scene.threat, scene.rows)
        state = _State(
            angle,
            search.optimizer.init(angle),
            numbers + search.first_constant,
            numbers,
            numbers + jnp.inf,
            jnp.zeros(numbers.shape, bool),
            smallest_of_clean(scene),
        )
        n_steps = searches * search.steps
        static = (scene.victim, search)
        return searched(name, scene, _step, static, state, n_steps, calls=1)

    return perturb


def _check_threat(threat: NormBall) -> None:
    if threat.norm != "l2":
        raise ValueError(
            f"carlini_wagner makes Euclidean changes small, and the norm of the threat "
            f"is {threat.norm!r}. Write `threat=l2()`, or take `deep_fool`."
        )
    if is_traced(threat.bounds):
        return
    if not all(np.isfinite(np.asarray(bound)).all() for bound in threat.bounds):
        raise ValueError(
            "carlini_wagner keeps inputs within finite bounds, and those of the threat "
            "are not. Write `threat=l2(bounds=(low, high))`."
        )


def _middle(threat: NormBall) -> tuple[Any, Any]:
    """The middle of the range, and half of its width."""
    low, high = threat.bounds
    return (low + high) / 2, (high - low) / 2


def _angle(threat: NormBall, rows: Any) -> Any:
    middle, half = _middle(threat)
    return jnp.arctanh((rows - middle) / half * INSIDE)


def _step(static: Any, constants: Any, state: _State, number: Any) -> tuple[Any, Any]:
    victim, search = static
    variables, threat, rows, target = constants
    state = _next_constant(search, threat, rows, state, number)
    middle, half = _middle(threat)
    tangent = jnp.tanh(state.angle)
    here = jnp.clip(middle + half * tangent, *threat.bounds)
    looked, slope = victim.slope(variables, here, target)
    change = here - rows
    is_short = looked.lead <= search.confidence  # the hinge still pulls
    pull = jnp.where(is_short, state.constant, 0).astype(rows.dtype)
    gradient = (2 * change - pull[:, None] * slope) * half * (1 - tangent**2)
    updates, adam = search.optimizer.update(gradient, state.adam)
    sure = looked._replace(
        lead=jnp.where(looked.lead >= search.confidence, looked.lead, -jnp.inf)
    )
    state = state._replace(
        angle=state.angle + updates,
        adam=adam,
        is_fooled=state.is_fooled | (sure.lead > 0),
        smallest=smaller(state.smallest, here, sure, threat.size(change)),
    )
    return state, (looked.loss, is_short & (slope == 0).all(axis=1))


def _next_constant(
    search: _Search, threat: NormBall, rows: Any, state: _State, number: Any
) -> _State:
    """The state with which the search for the next constant starts, if it does."""
    low = jnp.where(state.is_fooled, state.low, jnp.maximum(state.low, state.constant))
    high = jnp.where(
        state.is_fooled, jnp.minimum(state.high, state.constant), state.high
    )
    constant = jnp.where(jnp.isinf(high), state.constant * 10, (low + high) / 2)
    angle = _angle(threat, rows)
    anew = state._replace(
        angle=angle,
        adam=search.optimizer.init(angle),
        constant=constant,
        low=low,
        high=high,
        is_fooled=jnp.zeros_like(state.is_fooled),
    )
    is_next = (number > 0) & (number % search.steps == 0)
    return jax.tree.map(lambda new, old: jnp.where(is_next, new, old), anew, state)
