"""Attacks that follow the gradient within a ball: one step, or many that are projected.

$x$ is the input, $L$ the loss, which is minus the score of the target, or with
`targeted` the score; $P$ projects onto what the threat allows, and $s(g)$ is the
steepest change of norm 1 along a gradient $g$.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from jaxinterp.adversarial.ascent import Slope, raised
from jaxinterp.adversarial.contract import Attack, Stage
from jaxinterp.adversarial.threat import NormBall
from jaxinterp.checks import checked_integer, checked_positive
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, log_probability, margin
from jaxinterp.types import ApplyFn


@dataclasses.dataclass(frozen=True)
class _Projected:
    """Steps of one length.

    Attributes:
        step_size: the length of a step, in the units of the inputs, or `None`.
        relative: the length of a step in radii, if `step_size` is `None`.
        share: the share of entries that a step for `"l1"` changes.
    """

    step_size: float | None
    relative: float
    share: float

    def start(self, threat: NormBall, rows: Any) -> Any:
        """Returns nothing: each step looks at its own point alone."""
        return jnp.zeros((0,))

    def move(
        self, threat: NormBall, rows: Any, memory: Any, slope: Slope, number: Any
    ) -> tuple[Any, Any]:
        """Returns the next point."""
        size = self.step_size
        if size is None:
            radius = jnp.asarray(threat.radius, rows.dtype)
            size = jnp.reshape(self.relative * radius, (-1, 1))
        gradient = slope.gradient
        if threat.norm == "l1":  # the one entry that moves must not be a stopped one
            gradient = threat.movable(slope.rows, gradient)
        direction = threat.steepest(gradient, self.share)
        return memory, threat.project(rows, slope.rows + size * direction)


def fgsm(
    apply_fn: ApplyFn,
    *,
    threat: NormBall,
    score: Score | Objective | str = log_probability,
    targeted: bool = False,
) -> Attack:
    r"""Attacks by one step along the gradient, as long as the threat allows.

    $$x' = P(x + r\,s(\nabla_x L(x)))$$

    With `"linf"` this is the fast gradient sign method. For a linear classifier of two
    classes it is the strongest change of that norm, as long as no entry meets its
    bounds (with `"linf"` also then).

    Cost: one gradient and two forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        threat: what the attacker may do, such as `linf(8 / 255)`.
        score: which number per example the attack lowers, or raises if targeted: a
            score of the outputs, or an objective.
        targeted: whether the target is the class that the attack wants.

    Returns:
        An attack. Its `inputs` are the changed ones, or the inputs themselves if these
        are stronger: adversarial first, then of higher loss.

    Raises:
        TypeError: if `threat` or `score` is none, or an input is not of real numbers.
        ValueError: if the radius is infinite; when called, if inputs leave the bounds
            of the threat, or targets or outputs are not as `objectives.margin` needs
            them.

    References:
        Goodfellow et al., 2015 [goodfellow2015explaining].

    Example:
        >>> from jaxinterp.adversarial import linf
        >>> apply_fn = lambda w, x: x @ w
        >>> attack = fgsm(apply_fn, threat=linf(0.25, bounds=None))
        >>> result = attack(jnp.eye(2), jnp.array([[1.0, 0.75]]), jnp.array([0]))
        >>> result.inputs.tolist(), result.is_adversarial.tolist()
        ([[0.75, 1.0]], [True])
    """
    stage = Stage.of("fgsm", apply_fn, score, threat, is_targeted=targeted)
    return raised(stage, _Projected(None, 1.0, 0.0), steps=1, restarts=None)


def pgd(
    apply_fn: ApplyFn,
    *,
    threat: NormBall,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int | None = 1,
    score: Score | Objective | str = margin,
    targeted: bool = False,
) -> Attack:
    r"""Attacks by many steps along the gradient, each projected onto the threat.

    $$x_{t+1} = P(x_t + \alpha\,s(\nabla_x L(x_t)))$$

    With `"l1"` a step moves the hundredth of the entries, at least one, whose slope is
    largest, of those that their bounds do not stop (SLIDE).
    `restarts=None` starts at the inputs: the basic iterative method. Madry et al. lower
    `objectives.log_probability`, of which large logits leave no slope; the default is
    the margin, whose direction knows no scale. And of all points that were visited the
    strongest is returned, not the last.

    Cost: `steps` gradients for each restart. Memory grows with `restarts`, not with
    `steps`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        threat: what the attacker may do, such as `linf(8 / 255)`.
        steps: the number of steps.
        step_size: the length $\alpha$ of a step in the norm of the threat, in the units
            of the inputs; by default 2.5 radii divided by `steps`.
        restarts: the number of starts, each uniform in the ball; `None` for one start
            at the inputs, which needs no key. All examples of a batch start with the
            same change.
        score: which number per example the attack lowers, or raises if targeted: a
            score of the outputs, or an objective.
        targeted: whether the target is the class that the attack wants.

    Returns:
        An attack. Its `inputs` are the strongest point of all, the inputs included:
        adversarial first, then of higher loss.

    Raises:
        TypeError: if `threat` or `score` is none; when called, if `key` is missing, or
            an input is not of real numbers.
        ValueError: if the radius is infinite, or `steps`, `step_size` or `restarts` is
            not positive; when called, if inputs leave the bounds of the threat, or
            targets or outputs are not as `objectives.margin` needs them.

    References:
        Madry et al., 2018 [madry2018towards]; Kurakin et al., 2017
        [kurakin2017adversarial]; Tramèr and Boneh, 2019 [tramer2019adversarial].

    Example:
        >>> from jaxinterp.adversarial import l2
        >>> apply_fn = lambda w, x: x @ w
        >>> attack = pgd(apply_fn, threat=l2(0.5, bounds=None), steps=5)
        >>> x, y = jnp.array([[1.0, 0.5]]), jnp.array([0])
        >>> result = attack(jnp.eye(2), x, y, jax.random.key(0))
        >>> result.is_adversarial.tolist(), round(float(result.size[0]), 4)
        ([True], 0.5)
    """
    stage = Stage.of("pgd", apply_fn, score, threat, is_targeted=targeted)
    steps = checked_integer("steps", steps, 1, call="pgd")
    if step_size is not None:
        step_size = checked_positive("step_size", step_size, call="pgd")
    if restarts is not None:
        restarts = checked_integer("restarts", restarts, 1, call="pgd")
    mover = _Projected(step_size, 2.5 / steps, 0.01)
    return raised(stage, mover, steps=steps, restarts=restarts)
