"""Scores of the images of several units at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.keys import folded, steady
from jaxinterp.objectives.objective import Objective, View


def count_units(objective: Objective) -> int:
    """Returns how many units an objective has.

    Args:
        objective: an objective, whose arrays have the units on their first axis.

    Raises:
        ValueError: if its arrays are for different numbers of units.

    Example:
        >>> from jaxinterp.featurevis import channel
        >>> count_units(channel("Conv_0", [3, 5]) + channel("Conv_1", 0))
        2
    """
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(objective)}
    if 0 in sizes:
        raise ValueError("The objective has no units: an index is empty.")
    if len(sizes - {1}) > 1:
        raise ValueError(
            "The parts of an objective are for different numbers of units: "
            f"{sorted(sizes)}. Give each part one unit, or the same number."
        )
    return max(sizes, default=1)


def unit_numbers(bound: Objective) -> list[int] | None:
    """Returns the channel or class of each unit.

    Args:
        bound: an objective that is bound to a model.

    Returns:
        One integer for each unit; `None` if the objective has none, or several.
    """
    n_units = count_units(bound)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(bound)]
    integers = [leaf for leaf in leaves if np.issubdtype(leaf.dtype, np.integer)]
    if len(integers) == 1 and integers[0].shape == (n_units,):
        return integers[0].tolist()
    return None


def units(objective: Objective, index: Any) -> Objective:
    """Returns an objective of some of the units only.

    Args:
        objective: an objective of several units.
        index: a slice, or the indices, of these units.
    """
    size = count_units(objective)
    return jax.tree.map(
        lambda leaf: leaf[index] if leaf.shape[0] == size else leaf, objective
    )


def evaluate(objective: Objective, view: View, count: int) -> Any:
    """Returns the scores of the images of several units.

    Args:
        objective: a bound objective of `count` units.
        view: what the objective reads, with one more axis in front: the units.
        count: the number of units.

    Returns:
        Scores `(units, images)`.

    Raises:
        ValueError: if the objective does not give one number for each image.
    """

    def one(objective: Objective, view: View) -> Any:
        return score_of_one_unit(objective, view, view.images.shape[0])

    return _over_units(one, objective, view, count)


def score_of_one_unit(objective: Objective, view: View, n_images: int) -> Any:
    """Returns the score of each image for one unit, `(images,)`.

    Args:
        objective: a bound objective; its arrays are those of one unit, without an
            axis in front.
        view: what the objective reads of the images.
        n_images: the number of images, over which a single number is repeated.

    Raises:
        ValueError: if the objective does not give one number for each image.
    """
    scores = jnp.asarray(objective(view))
    if scores.ndim > 1 or scores.shape not in ((), (n_images,)):
        raise ValueError(
            f"An objective gives one number for each image, ({n_images},), and "
            f"this one gave {scores.dtype}{list(scores.shape)}."
        )
    return jnp.broadcast_to(scores, (n_images,))


def _over_units(
    function: Callable[[Objective, View], Any],
    objective: Objective,
    view: View,
    count: int,
) -> Any:
    axes = jax.tree.map(lambda leaf: 0 if leaf.shape[0] == count else None, objective)
    own = jax.tree.map(
        lambda leaf: leaf if leaf.shape[0] == count else leaf[0], objective
    )
    views = View(0, 0, 0, None)  # pyright: ignore[reportArgumentType]  axes of vmap
    return jax.vmap(function, in_axes=(axes, views))(own, view)


def unit_keys(key: Any, objective: Objective) -> Any:
    """Returns a key for each unit, made of the integers that say which unit it is.

    Args:
        key: the random key from which each unit's key is derived.
        objective: a bound objective, whose integer arrays are channels and positions.
    """
    leaves = jax.tree.leaves(objective)
    integers = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.integer)]
    return _unit_keys(steady(key), integers, count_units(objective))


@functools.partial(jax.jit, static_argnums=2)
def _unit_keys(key: Any, integers: list[Any], count: int) -> Any:
    keys = jnp.broadcast_to(key, (count,))
    for leaf in integers:
        rows = leaf.reshape(leaf.shape[0], -1)
        for column in jnp.broadcast_to(rows, (count, rows.shape[1])).T:
            keys = jax.vmap(folded)(keys, column)
    return keys
