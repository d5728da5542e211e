"""All networks of the zoo by name: read from the cache, or trained and put there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from experiments.zoo import cache, generative, sentiment, tables, text, vision
from experiments.zoo.recipe import Recipe, Trained

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for family in (vision, text, sentiment, generative, tables)
        for recipe in family.RECIPES
    }
)


def names() -> tuple[str, ...]:
    """Returns the names of the networks, in the order of the table."""
    return tuple(RECIPES)


def load(name: str, *, retrain: bool = False) -> Trained:
    """Returns a trained network, from the cache if it is there, or after training it.

    Training takes from seconds to minutes and shows its progress. The cache is a folder
    of the user; the environment variable `JAXINTERP_CACHE` names another.

    Args:
        name: of the network, one of `names()`.
        retrain: whether to train it in any case.

    Raises:
        FileNotFoundError: if it is trained on files that do not come with the project,
            and they are absent.
        RuntimeError: if training does not reach its goal.
        ValueError: if there is no such network, or its file in the cache is damaged.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise ValueError(f"There is no network {name!r}. There are: {known}.")
    return obtain(RECIPES[name], retrain=retrain)


def obtain(recipe: Recipe, *, retrain: bool = False) -> Trained:
    """Returns what a recipe makes, as `load` does; the recipe may be one of your own.

    Args:
        recipe: what to train.
        retrain: whether to train it in any case.

    Raises:
        FileNotFoundError: if files that it is trained on are absent.
        RuntimeError: if training does not reach its goal.
        ValueError: if the file in the cache is damaged.
    """
    config = config_of(recipe)
    mark = cache.fingerprint(config, *recipe.origins)
    path = cache.path_of(recipe.name, mark)
    stored = None if retrain else cache.read(path)
    if stored is None:
        stored = cache.Stored(*recipe.train())
        cache.save(path, *stored)
    return Trained(
        recipe.name,
        recipe.module.apply,
        stored.variables,
        recipe.module,
        config,
        stored.figures,
        recipe.held_out,
    )


def config_of(recipe: Recipe) -> dict[str, Any]:
    """Returns the fields of a recipe by name.

    Args:
        recipe: a dataclass.
    """
    return {key: value for key, value in vars(recipe).items() if key != "name"}
