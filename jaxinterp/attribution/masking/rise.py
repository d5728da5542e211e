"""RISE: the mean of random, smooth masks, weighted by the score of what they show."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.attribution.contract import Attribution, method
from jaxinterp.attribution.masking.scores import shared_by_channels, single_array
from jaxinterp.attribution.place import Place, place_of
from jaxinterp.checks import checked_integer, checked_share
from jaxinterp.keys import check_key, each_folded, steady
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.explained import explained
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.score import Score, logit
from jaxinterp.perturbation.masks import masked, smooth_mask
from jaxinterp.perturbation.positions import positions_of
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Target, Variables


@method
def rise(
    apply_fn: ApplyFn,
    *,
    samples: int = 4000,
    grid: int = 7,
    share: float = 0.5,
    baseline: Any = 0.0,
    batch_size: int | None = None,
    score: Score | Objective | str = logit,
    at: Sites | None = None,
) -> Attribution:
    r"""Attributes to positions the mean score while random masks show them.

    $$S_p = \frac{\sum_i M_{i,p}\,f(x \odot M_i + b \odot (1 - M_i))}{\sum_i M_{i,p}}$$

    Each mask $M_i$ is a coarse grid of cells, each shown with probability `share`,
    enlarged linearly to a little more than the input and shifted at random. The map is
    a mean of scores: only its differences between positions mean anything, and its
    error falls with $1 / \sqrt{n}$. Cost: `samples` forward passes.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        samples: the number of masks, which are those of all examples.
        grid: the number of cells along each axis of positions.
        share: the probability that a cell is shown.
        baseline: what is seen of what is hidden: a number, an array (or a pytree like
            `inputs`) that broadcasts against the inputs, or a function `(inputs, key)
            -> baseline`.
        batch_size: the number of masks evaluated at once; by default as many as make 16
            MB of explained arrays of the whole batch together, at least one. Memory
            does not grow with `samples`.
        score: which number per example is explained: a score of the outputs, or an
            objective (`channel("Conv_1", 3)`, or `"Conv_1:3"`), which needs no target.
            The paper takes a probability.
        at: a site, whose activation is hidden instead of the inputs; one site only.

    Returns:
        An attribution function that needs a `key`, in the units of `score`. All
        channels of a pixel have an equal share of the value of their position; one that
        no mask shows has 0.

    Raises:
        ValueError: if a hyperparameter is out of range; when called, if there are
            several inputs or none has positions, or if the baseline does not fit.
        TypeError: when called, if there is no key, or if what is explained is integers,
            of which no share can be shown.

    References:
        Petsiuk et al., 2018, eq. 6 [petsiuk2018rise]; divided by the sum of the masks
        in place of its expectation.

    Example:
        >>> attribute = rise(lambda w, x: x[:, 2:3], samples=200, grid=4)
        >>> scores = attribute(None, jnp.ones((1, 4)), 0, jax.random.key(0))
        >>> int(scores.argmax())
        2
    """
    samples = checked_integer("samples", samples, 1, call="rise")
    grid = checked_integer("grid", grid, 1, call="rise")
    share = checked_share("share", share, call="rise")
    model, score_fn = explained(apply_fn, score)

    def step(context: tuple[Place, Any], key: Key) -> Any:
        place, start = context
        (x,) = jax.tree.leaves(place.array)
        mask = smooth_mask(key, positions_of(x.shape), grid, share)
        shown = mask.reshape(1, *mask.shape, *[1] * (x.ndim - mask.ndim - 1))
        keep = jax.tree.map(lambda _: shown, place.array)
        values = place.scores(model, score_fn, masked(place.array, keep, start))
        return mask[None] * values.reshape(-1, *[1] * mask.ndim), mask

    sums = summed(step, batch_size=batch_size, name="rise")

    def attribute(
        variables: Variables, inputs: Inputs, target: Target = None, key: Key = None
    ) -> Any:
        call = model, score_fn, variables, inputs, target
        needs = {"needs_slopes": False, "channels_last": True}
        place = place_of(*call, at=at, name="rise", **needs)
        check_key("rise", key)
        single_array("rise", place.array)
        start = place.filled(baseline, key)
        keys = each_folded(steady(key), jnp.arange(samples))
        weighted, shown = sums((place, start), keys, place.array)
        values = weighted / jnp.where(shown == 0, 1, shown)[None]
        attributions = shared_by_channels(place.array, values)
        return place.shaped(at, place.in_model(attributions))

    return attribute
