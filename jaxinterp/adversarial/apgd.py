r"""The attack that chooses its own step length: Auto-PGD.

$x$ is the input, $L$ the loss, which is minus the score of the target, or with
`targeted` the score; $P$ projects onto what the threat allows, $s(g)$ is the steepest
change of norm 1 along a gradient $g$, and $r$ the radius.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxinterp.adversarial.ascent import Slope, choose, raised
from jaxinterp.adversarial.contract import Attack, Stage
from jaxinterp.adversarial.threat import NormBall
from jaxinterp.checks import checked_integer
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.scale_free import difference_of_logits_ratio
from jaxinterp.objectives.score import Score
from jaxinterp.types import ApplyFn

MOMENTUM = 0.75  # alpha of the paper
RISES = 0.75  # rho of the paper


def checkpoints(steps: int) -> tuple[int, ...]:
    r"""Returns the steps after which the step length is looked at.

    $w_j = \lceil p_j N \rceil$ with $p_1 = 0.22$ and $p_{j+1} = p_j + \max(p_j -
    p_{j-1} - 0.03, 0.06)$.

    Args:
        steps: the number of steps $N$.

    References:
        Croce and Hein, 2020 [croce2020reliable].

    Example:
        >>> checkpoints(100)
        (22, 41, 57, 70, 80, 87, 93, 99)
    """
    percents = [0, 22]
    while percents[-1] < 100:
        gap = percents[-1] - percents[-2]
        percents.append(percents[-1] + max(gap - 3, 6))
    numbers = (-(-percent * steps // 100) for percent in percents[1:])
    return tuple(dict.fromkeys(n for n in numbers if 0 < n < steps))


class _Memory(NamedTuple):
    """What an attack remembers of its steps, each `(batch,)` or a `Slope`.

    Attributes:
        before: the point before, `(batch, entries)`.
        best: the point of the highest loss.
        loss_before: the loss of the point before.
        step_size: the length of a step.
        n_rises: the number of steps since the last checkpoint that raised the loss.
        loss_at_check: the highest loss at the last checkpoint.
        was_reduced: whether the step length was reduced at the last checkpoint.
        count: for `"l1"` the number of entries in which the best point differed at the
            last checkpoint.
        share: for `"l1"` the share of the entries that a step moves.
    """

    before: Any
    best: Slope
    loss_before: Any
    step_size: Any
    n_rises: Any
    loss_at_check: Any
    was_reduced: Any
    count: Any
    share: Any


@dataclasses.dataclass(frozen=True)
class _Auto:
    """Steps whose length is halved when they no longer help.

    Attributes:
        steps: the number of steps.
    """

    steps: int

    def start(self, threat: NormBall, rows: Any) -> _Memory:
        """Returns what is remembered before the first step."""
        zeros = jnp.zeros(rows.shape[:1], rows.dtype)
        radius = zeros + jnp.asarray(threat.radius, rows.dtype)
        return _Memory(
            before=rows,
            best=Slope(rows, zeros - jnp.inf, jnp.zeros_like(rows)),
            loss_before=zeros + jnp.inf,
            step_size=radius if threat.norm == "l1" else 2 * radius,
            n_rises=zeros,
            loss_at_check=zeros - jnp.inf,
            was_reduced=jnp.ones(zeros.shape, bool),
            count=zeros + rows.shape[1],
            share=zeros + 0.2,
        )

    def move(
        self, threat: NormBall, rows: Any, memory: _Memory, slope: Slope, number: Any
    ) -> tuple[_Memory, Any]:
        """Returns what is remembered, and the next point."""
        loss = slope.loss.astype(memory.loss_before.dtype)
        slope = slope._replace(loss=loss)
        memory = memory._replace(
            best=choose(loss > memory.best.loss, slope, memory.best),
            n_rises=memory.n_rises + (loss > memory.loss_before),
            loss_before=loss,
        )
        if threat.norm == "l1":
            memory, is_restarted = self._sparser(threat, rows, memory, number)
        else:
            memory, is_restarted = self._halved(memory, number)
        slope = choose(is_restarted, memory.best, slope)
        step = memory.step_size[:, None]
        share = memory.share if threat.norm == "l1" else 0.0
        ahead = slope.rows + step * threat.steepest(slope.gradient, share)
        moved = threat.project(rows, ahead)
        if threat.norm != "l1":
            weight = jnp.where(number > 0, MOMENTUM, 1).astype(rows.dtype)
            way = weight * (moved - slope.rows)
            inertia = (1 - weight) * (slope.rows - memory.before)
            moved = threat.project(rows, slope.rows + way + inertia)
        return memory._replace(before=slope.rows), moved

    def _halved(self, memory: _Memory, number: Any) -> tuple[_Memory, Any]:
        """The step length after a checkpoint, and who goes back to the best point."""
        intervals = [0] * self.steps
        for last, this in itertools.pairwise([0, *checkpoints(self.steps)]):
            intervals[this] = this - last
        interval = jnp.asarray(intervals)[number]
        is_check = interval > 0
        highest = memory.best.loss
        is_idle = memory.n_rises < RISES * interval
        is_same = ~memory.was_reduced & (highest <= memory.loss_at_check)
        is_reduced = is_check & (is_idle | is_same)
        memory = memory._replace(
            step_size=jnp.where(is_reduced, memory.step_size / 2, memory.step_size),
            n_rises=jnp.where(is_check, 0, memory.n_rises),
            loss_at_check=jnp.where(is_check, highest, memory.loss_at_check),
            was_reduced=jnp.where(is_check, is_reduced, memory.was_reduced),
        )
        return memory, is_reduced

    def _sparser(
        self, threat: NormBall, rows: Any, memory: _Memory, number: Any
    ) -> tuple[_Memory, Any]:
        """The step after a checkpoint for `"l1"`, and who goes back to the best."""
        every = max(4 * self.steps // 100, 1)
        is_check = (number > 0) & (number % every == 0)
        differs = memory.best.rows != rows
        count = differs.sum(axis=1).astype(memory.count.dtype)
        is_sparser = is_check & (count < 0.95 * memory.count)
        radius = jnp.zeros_like(memory.step_size) + threat.radius
        smaller = jnp.clip(memory.step_size / 1.5, radius / 10, radius)
        step = jnp.where(is_sparser, radius, smaller)
        share = count / rows.shape[1] / 1.5
        memory = memory._replace(
            step_size=jnp.where(is_check, step, memory.step_size),
            count=jnp.where(is_check, count, memory.count),
            share=jnp.where(is_check, share, memory.share),
        )
        return memory, is_sparser


def apgd(
    apply_fn: ApplyFn,
    *,
    threat: NormBall,
    steps: int = 100,
    restarts: int = 1,
    score: Score | Objective | str = difference_of_logits_ratio,
    targeted: bool = False,
) -> Attack:
    r"""Attacks by steps whose length is halved when they no longer help: Auto-PGD.

    $$z = P(x_t + \eta\,s(\nabla_x L(x_t))), \qquad
    x_{t+1} = P(x_t + \alpha (z - x_t) + (1 - \alpha)(x_t - x_{t-1}))$$

    with $\alpha = 0.75$, at first $\eta = 2 r$, and a start on the surface of the ball.
    At the `checkpoints` $w_j$ the length $\eta$ is halved, and the attack goes back to
    the point of the highest loss, for an example of which fewer than three quarters of
    the steps since the last checkpoint raised the loss, or whose length was not halved
    there and whose highest loss has not grown since. As in the authors' code the point
    of the checkpoint itself is replaced by the best one. There is nothing to tune.

    With `"l1"` steps move the largest share of the entries, at first a fifth; 25 times
    the share becomes that of the best point divided by 1.5, and the step length goes
    back to $r$ if that point is sparser, or is divided by 1.5, down to a tenth of the
    radius. The larger radii that may precede the last one are left out.

    The default score is that of the loss DLR, which knows no scale; with
    `objectives.log_probability` it is APGD-CE.

    Cost: `steps` gradients for each restart. Memory grows with `restarts`, not with
    `steps`.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`, of logits
            `(batch, classes)`.
        threat: what the attacker may do, such as `linf(8 / 255)`.
        steps: the number of steps.
        restarts: the number of random starts. All examples of a batch start with the
            same change.
        score: which number per example the attack lowers, or raises if targeted: a
            score of the outputs, or an objective. Of two classes take
            `objectives.margin`.
        targeted: whether the target is the class that the attack wants.

    Returns:
        An attack. Its `inputs` are the strongest point of all, the inputs included:
        adversarial first, then of higher loss.

    Raises:
        TypeError: if `threat` or `score` is none; when called, if `key` is missing, or
            an input is not of real numbers.
        ValueError: if the radius is infinite, or `steps` or `restarts` is not positive;
            when called, if inputs leave the bounds of the threat, or targets or outputs
            are not as `score` needs them.

    References:
        Croce and Hein, 2020 [croce2020reliable]; Croce and Hein, 2021 [croce2021mind]
        for `"l1"`.

    Example:
        >>> from jaxinterp.adversarial import linf
        >>> apply_fn = lambda w, x: 1000 * (x @ w)
        >>> attack = apgd(apply_fn, threat=linf(0.5, bounds=None), steps=5)
        >>> x, y = jnp.array([[1.0, 0.5, 0.25]]), jnp.array([0])
        >>> result = attack(jnp.eye(3), x, y, jax.random.key(0))
        >>> result.is_adversarial.tolist(), round(float(result.size[0]), 4)
        ([True], 0.5)
    """
    stage = Stage.of("apgd", apply_fn, score, threat, is_targeted=targeted)
    steps = checked_integer("steps", steps, 1, call="apgd")
    restarts = checked_integer("restarts", restarts, 1, call="apgd")
    mover = _Auto(steps)
    return raised(stage, mover, steps=steps, restarts=restarts, on_surface=True)
