r"""Masks that are learned: which part suffices for a score, and which has to go.

$m_p \in [0, 1]$ is a mask of the $n$ positions $p$ of an array $x$, $b$ a baseline and
$f$ the score. A mask is the blurred and clipped $\theta$, and has the area $a$ if,
sorted, it is the step $r_a$ of $(1 - a) n$ zeros and $a n$ ones. It is learned by

$$\theta \leftarrow \theta - \eta K^\top \left(K \theta - r_a(K \theta + h) -
h\right), \quad h = \frac1{\lambda}\,\frac{g}{\max_p |g_p|}$$

$K$ is the blur, $r_a(s)$ the step in the order of $s$, $g$ the gradient of the score in
the mask, and $\lambda$ grows from 1 to 100 by the same factor in each step. Only the
direction of $g$ counts, so that nothing depends on the units of the score. It is the
gradient at the clipped mask: $\theta$ beyond 0 and 1 remembers the order of the
positions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import (
    shared_by_channels,
    single_array,
)
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import (
    checked_integer,
    checked_positive,
    checked_real,
    checked_share,
    is_traced,
)
from jaxinterp.loop.progress import progress_bar
from jaxinterp.loop.steps import iterate
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit, margin
from jaxinterp.perturbation.blur import blurred
from jaxinterp.perturbation.masks import masked
from jaxinterp.perturbation.positions import positions_of
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables

LAST_WEIGHT = 100.0  # of the area: what is left of the score moves a mask by 1 % then


@dataclasses.dataclass(frozen=True)
class _Search:
    """What the steps of a search have in common.

    Attributes:
        name: the name of the method.
        model: the model, as `explained` returns it.
        score: which number per example is explained.
        at: the site whose activation is explained.
        steps: the number of steps.
        learning_rate: the share of the way to the step of the area that a step goes.
        sigma: the standard deviation of the blur, in positions.
        threshold: the score below which a removal has to come; `None` for a mask of
            what is kept.
    """

    name: str
    model: ApplyFn
    score: Score
    at: Sites | None
    steps: int
    learning_rate: float
    sigma: float
    threshold: float | None

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Plain descent, which never changes the order of positions on its own."""
        return optax.sgd(self.learning_rate)

    def smooth(self, theta: Any) -> Any:
        """Returns what is learned, blurred; a mask is that, clipped to 0 and 1."""
        return blurred(theta, self.sigma, range(2, theta.ndim))

    def shown(self, place: Place, baseline: Any, mask: Any) -> Any:
        """Returns what of the explained array a mask shows."""
        keep = mask if self.threshold is None else 1 - mask

        def of_leaf(x: Any) -> Any:
            return keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim))

        return masked(place.array, jax.tree.map(of_leaf, place.array), baseline)


class _State(NamedTuple):
    """What a search carries from step to step; the first axis is of areas.

    Attributes:
        theta: what is learned, `(areas, batch, *positions)`.
        optimizer: the state of the optimizer.
        area: the area of the mask, `(areas, batch)`.
        smallest: the smallest mask that brought the score below the threshold.
        size: the mean of that mask; infinite if there was none.
    """

    theta: Any
    optimizer: Any
    area: Any
    smallest: Any
    size: Any


@method
def extremal_mask(
    apply_fn: ApplyFn,
    *,
    area: float | Sequence[float] = 0.1,
    steps: int = 200,
    learning_rate: float = 0.1,
    sigma: float = 1.0,
    baseline: Any = 0.0,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by a smooth mask of a given area that keeps the score high.

    $$m_a = \arg\max_m\; f(x \odot m + b \odot (1 - m)) - \frac{\lambda}{2}
    \|\mathrm{sort}(m) - r_a\|^2$$

    $r_a$ is a step with the share $a$ of ones. What the mask shows *suffices* for as
    much of the score as a search can reach with this area. Of a score that is a sum
    over positions the mask without blur shows those of the largest terms, whatever
    their sign. The authors make masks smooth by a maximum under a bell, in place of a
    Gaussian mean, and move by the gradient itself; here by its direction. Cost: `steps`
    gradients for each area, of all areas at once.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        area: the share of the positions that the mask shows, or several of them.
        steps: the number of steps of the search.
        learning_rate: the share of the distance to the given area by which a step
            shortens it.
        sigma: the standard deviation of the Gaussian that makes masks smooth, in
            positions; 0 for none.
        baseline: what is seen of what is hidden: a number, an array (or a pytree like
            `inputs`) that broadcasts against the inputs, or a function `(inputs, key)
            -> baseline`, such as a blur.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is hidden instead of the inputs; one site only.

    Returns:
        An attribution function, whose values have no unit: the mask, from 0 to 1, and
        with several areas the mean of their masks. All channels of a pixel have an
        equal share of the value of their position. Where the score has no gradient,
        the mask shows any positions.

    Raises:
        ValueError: if a hyperparameter is out of range; when called, if there are
            several inputs or none has positions, or if the baseline does not fit.
        TypeError: when called, if what is explained is integers.

    References:
        Fong et al., 2019 [fong2019understanding].

    Example:
        >>> attribute = extremal_mask(lambda w, x: x @ w, area=0.5, sigma=0.0)
        >>> weights = jnp.array([[1.0], [4.0], [-2.0], [3.0]])
        >>> attribute(weights, jnp.ones((1, 4)), 0).round().tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """
    given: Any = area
    areas = (given,) if np.ndim(given) == 0 else tuple(given)
    if not areas:
        raise ValueError("extremal_mask: `area` is empty. Write `area=0.1`.")
    areas = tuple(checked_share("area", a, call="extremal_mask") for a in areas)
    options = {"steps": steps, "learning_rate": learning_rate, "sigma": sigma}
    search = _search("extremal_mask", apply_fn, score, at, None, **options)
    return _learned(search, areas, baseline)


@method
def counterfactual_mask(
    apply_fn: ApplyFn,
    *,
    threshold: float = 0.0,
    steps: int = 200,
    learning_rate: float = 0.1,
    sigma: float = 1.0,
    baseline: Any = 0.0,
    score: Score | Objective | str = margin,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes by the smallest smooth mask whose removal brings the score down.

    $$m = \arg\min_m\; \sum_p m_p \quad \text{such that} \quad f(x \odot (1 - m) + b
    \odot m) < t$$

    By default the score is the margin of the target over the best other class, so that
    another class wins once the mask is taken away: what it covers is *necessary* for
    the decision. The search is that of `extremal_mask` for the lowest score, whose area
    grows by $2 / \mathrm{steps}$ in each step until the score is below the threshold,
    and shrinks while it is. The smallest mask that was enough is returned; a smaller
    one that the search did not meet may exist. Of a score that is a sum over positions
    it takes away the largest terms. Cost: `steps` gradients.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        threshold: $t$, below which the score has to come, in the units of `score`.
        steps: the number of steps of the search.
        learning_rate: the share of the distance to the given area by which a step
            shortens it.
        sigma: the standard deviation of the Gaussian that makes masks smooth, in
            positions; 0 for none.
        baseline: what takes the place of what is removed: a number, an array (or a
            pytree like `inputs`) that broadcasts against the inputs, or a function
            `(inputs, key) -> baseline`, such as a blur.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
        at: a site, whose activation is removed instead of the inputs; one site only.

    Returns:
        An attribution function, whose values have no unit: the mask, from 0 to 1, where
        1 is removed. All channels of a pixel have an equal share of the value of their
        position. It is 0 where the score is below the threshold as it is, and nan where
        no mask of the search was enough.

    Raises:
        ValueError: if a hyperparameter is out of range; when called, if there are
            several inputs or none has positions, or if the baseline does not fit.
        TypeError: when called, if what is explained is integers.

    References:
        Dabkowski and Gal, 2017, the smallest destroying region
        [dabkowski2017realtime]; Fong and Vedaldi, 2017, the deletion game
        [fong2017interpretable].

    Example:
        >>> attribute = counterfactual_mask(
        ...     lambda w, x: x @ w, threshold=3.5, sigma=0.0, score=logit)
        >>> weights = jnp.array([[1.0], [4.0], [2.0], [3.0]])
        >>> attribute(weights, jnp.ones((1, 4)), 0).round().tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """
    name = "counterfactual_mask"
    threshold = checked_real("threshold", threshold, call=name)
    options = {"steps": steps, "learning_rate": learning_rate, "sigma": sigma}
    search = _search(name, apply_fn, score, at, threshold, **options)
    return _learned(search, (0.0,), baseline)


def _search(
    name: str,
    apply_fn: ApplyFn,
    score: Score | Objective | str,
    at: Sites | None,
    threshold: float | None,
    *,
    steps: int,
    learning_rate: float,
    sigma: float,
) -> _Search:
    """A search whose numbers are checked."""
    return _Search(
        name,
        *explained(apply_fn, score),
        at,
        checked_integer("steps", steps, 1, call=name),
        checked_positive("learning_rate", learning_rate, call=name),
        checked_real("sigma", sigma, 0, call=name),
        threshold,
    )


def _learned(search: _Search, areas: tuple[float, ...], baseline: Any) -> Attribution:
    """The attribution function of a search that begins with some areas."""

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = search.model, search.score, variables, inputs, target
        options = {"name": search.name, "channels_last": True}
        place = place_of(*call, at=search.at, **options)
        single_array(search.name, place.array)
        start = place.filled(baseline, key)
        state = _searched(search, (place, start), areas)
        last = jnp.clip(search.smooth(state.theta), 0, 1)
        mask = last if search.threshold is None else state.smallest
        attributions = shared_by_channels(place.array, mask.mean(0))
        return place.shaped(search.at, place.in_model(attributions))

    return attribute


def _searched(
    search: _Search, constants: tuple[Place, Any], areas: tuple[float, ...]
) -> _State:
    """The last state of a search."""
    (x,) = jax.tree.leaves(constants[0].array)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    shape = len(areas), x.shape[0], *positions_of(x.shape)
    first = 1.0 if search.threshold is None else 0.0  # where all is as it was
    theta = jnp.full(shape, first, dtype)
    state = _State(
        theta,
        search.optimizer.init(theta),
        jnp.broadcast_to(jnp.asarray(areas, dtype)[:, None], shape[:2]),
        jnp.full(shape, jnp.nan, dtype),
        jnp.full(shape[:2], jnp.inf, dtype),
    )
    state = jax.tree.map(jnp.copy, state)  # the memory of a state is reused
    is_shown = not is_traced(constants)
    with progress_bar(search.steps, search.name, is_shown=is_shown) as bar:
        numbers = range(search.steps)
        return iterate(_step, search, constants, state, numbers, tick=bar.update)[0]


def _step(
    search: _Search, constants: tuple[Place, Any], state: _State, number: Any
) -> tuple[_State, None]:
    place, baseline = constants
    smooth, pull_blur = jax.vjp(search.smooth, state.theta)
    mask = jnp.clip(smooth, 0, 1)

    def score_of(mask: Any) -> Any:
        array = search.shown(place, baseline, mask)
        return place.scores(search.model, search.score, array)

    def slope_of(mask: Any) -> tuple[Any, Any]:
        values, pull = jax.vjp(score_of, mask)
        return values, pull(jnp.ones_like(values))[0]

    values, slope = jax.vmap(slope_of)(mask)
    slope = slope if search.threshold is None else -slope
    positions = tuple(range(2, slope.ndim))
    largest = jnp.abs(slope).max(positions, keepdims=True)
    weight = LAST_WEIGHT ** ((number + 1) / search.steps)
    push = slope / jnp.where(largest == 0, 1, largest) / weight.astype(slope.dtype)
    wanted = push + _step_in_order(smooth + push, state.area)
    (gradient,) = pull_blur(smooth - wanted)
    updates, optimizer = search.optimizer.update(gradient, state.optimizer)
    state = state._replace(theta=state.theta + updates, optimizer=optimizer)
    if search.threshold is not None:
        state = _with_smallest(search, state, values, mask)
    return state, None


def _with_smallest(search: _Search, state: _State, values: Any, mask: Any) -> _State:
    """The smallest removal that was enough, and an area nearer to what is needed."""
    is_enough = values.astype(mask.dtype) < search.threshold
    move = jnp.where(is_enough, -2 / search.steps, 2 / search.steps)
    size = mask.mean(tuple(range(2, mask.ndim)))
    is_better = is_enough & (size < state.size)
    shown = is_better.reshape(is_better.shape + (1,) * (mask.ndim - 2))
    return state._replace(
        area=jnp.clip(state.area + move.astype(mask.dtype), 0, 1),
        smallest=jnp.where(shown, mask, state.smallest),
        size=jnp.where(is_better, size, state.size),
    )


def _step_in_order(smooth: Any, area: Any) -> Any:
    """The step $r_a$ in the order of what is given: ones where it is largest."""
    count = math.prod(smooth.shape[2:])
    rows = smooth.reshape(*area.shape, count)
    larger = count - 1 - jnp.argsort(jnp.argsort(rows))
    ones = area[..., None] * count - larger.astype(area.dtype)
    return jnp.clip(ones, 0, 1).reshape(smooth.shape)
