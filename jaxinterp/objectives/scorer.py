"""Scores of given images: all units of an objective from one pass of the model.

`maximize` makes images for each unit; here all units look at the same ones, so what
the model computes of them is computed once and shared. A *place* is a position of the
activation that the objective reads, such as a row and a column: all its axes but the
last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units, evaluate
from jaxinterp.objectives.objective import Objective, View
from jaxinterp.objectives.reader import Reader, reader
from jaxinterp.types import ApplyFn, Images, Variables

# What has a score: an image as a whole, or its best place.
By = Literal["image", "place"]


class Scores(NamedTuple):
    """Scores of some images, float32 at least.

    Attributes:
        images: the scores of whole images, `(units, images)`.
        places: the scores of each place on its own, `(units, images, places)`; `None`
            if the objective does not look at places.
    """

    images: Any
    places: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """Scores images for all units.

    Attributes:
        model: the model as the objective reads it.
        count: the number of units.
        places: the shape of the places; `None` if the objective does not look at them.
    """

    model: Reader
    count: int
    places: tuple[int, ...] | None

    def __call__(
        self, variables: Variables, objective: Objective, images: Images
    ) -> Scores:
        """Returns the scores of images, and of their places if there are any.

        Args:
            variables: the weights of the model.
            objective: the objective, bound to the model.
            images: a batch of images.
        """
        activations, outputs = self.model(variables, images)
        view = View(activations, outputs, images, 0)
        of_images = _of_all_units(objective, view, self.count)
        if self.places is None:
            return Scores(of_images, None)
        return Scores(of_images, _of_each_place(objective, view, self.count))

    def dtype(self, variables: Variables, objective: Objective, images: Images) -> Any:
        """Returns the dtype of the scores, for the arguments of a call."""
        return jax.eval_shape(self, variables, objective, images).images.dtype


def scorer(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    images: Images,
    *,
    has_places: bool = True,
) -> tuple[Scorer, Objective]:
    """Returns what scores images, and the objective bound to the model.

    Args:
        apply_fn: the model.
        objective: the objective whose scores are computed.
        variables: the weights of the model.
        images: a batch of images like those that will be scored.
        has_places: whether places are scored too, if the objective looks at them.

    Raises:
        AddressError: if the model has no such site.
        ValueError: if it has no such unit.
    """
    objective = as_objective(objective)
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    model, shapes = reader(apply_fn, objective, variables, image)
    bound = objective.bound(shapes)
    one = jax.ShapeDtypeStruct((1, *image.shape), image.dtype)
    activations, outputs = jax.eval_shape(model, variables, one)
    places = None
    view = View(activations, outputs, one, 0)
    if has_places and _is_mean_of_places(bound, view):
        (shape,) = shapes.activations.values()
        places = tuple(shape[:-1])
    return Scorer(model, count_units(bound), places), bound


def scores_of_own_images(
    model: Callable[[Variables, Images], Any],
    variables: Variables,
    objective: Objective,
    images: Images,
    inputs: Images,
    number: Any = 0,
) -> Any:
    """Returns the scores of each unit's own images in several samples.

    Args:
        model: the model as the objective sees it, a `Reader` or one under a
            transformation.
        variables: the weights of the model.
        objective: the objective, bound to the model.
        images: the images of each unit, `(units, count, ...)`.
        inputs: what the model gets, which are the transformed images, `(samples,
            units, count, ...)`.
        number: the number of the optimization step.

    Returns:
        Scores `(samples, units, count)`.
    """
    front = inputs.shape[:3]
    flat = inputs.reshape(-1, *inputs.shape[3:])
    activations, outputs = jax.tree.map(
        lambda a: a.reshape(*front, *a.shape[1:]), model(variables, flat)
    )

    def of_sample(activations: Any, outputs: Any) -> Any:
        view = View(activations, outputs, images, number)
        return evaluate(objective, view, front[1])

    return jax.vmap(of_sample)(activations, outputs)


def check_alone(bound: Objective, call: str) -> None:
    """Raises if an image's score depends on the images beside it.

    Args:
        bound: the objective, bound to the model.
        call: the name of the function whose argument the objective is, for the error.

    Raises:
        ValueError: if it does.
    """
    if bound.compares:
        raise ValueError(
            f"{call}: the objective compares the images of a unit with one another, "
            "or tells them by their number, and these images are looked at one by "
            "one.\nLeave out `diversity`, `alignment`, `interpolate` and "
            "`for_images`."
        )


def description_of_units(bound: Objective) -> str:
    """Returns what tells the units of an objective from those of another.

    Args:
        bound: the objective, bound to the model.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(bound)]
    numbers = [x.tolist() for x in leaves if np.issubdtype(x.dtype, np.integer)]
    sites = ", ".join(map(repr, bound.sites)) or "the outputs"
    digest = hashlib.sha256(repr(numbers).encode()).hexdigest()[:8] if numbers else ""
    return f"{sites} #{digest}" if digest else sites


def check_places(score: Scorer, by: Any) -> None:
    """Raises unless images can be scored as `by` says.

    Args:
        score: the scorer of the images.
        by: what has a score, `"image"` or `"place"`.

    Raises:
        ValueError: if there is no such way, or the objective does not look at places.
    """
    if by not in ("image", "place"):
        raise ValueError(f"`by` is 'image' or 'place', and is {by!r}.")
    if by == "place" and score.places is None:
        names = [repr(name) for name, *_ in score.model.places]
        raise ValueError(
            "by='place' needs an objective that is the mean over the places of one "
            "site, such as `channel('Conv_0')`.\nThis one reads "
            f"{', '.join(names) or 'no site'}, and is no such mean. Write "
            "by='image'."
        )


# --- All units look at the same -------------------------------------------------------


def _of_all_units(objective: Objective, view: View, count: int) -> Any:
    """Scores `(units, images)`; the view is shared by all units, and not copied."""

    def one(own: Objective) -> Any:
        parts = jax.tree.map(lambda leaf: leaf[None], (own, view._replace(step=None)))
        alone, view_of_one = parts
        return evaluate(alone, view_of_one._replace(step=view.step), 1)[0]

    axes = jax.tree.map(lambda leaf: 0 if leaf.shape[0] == count else None, objective)
    own = jax.tree.map(
        lambda leaf: leaf if leaf.shape[0] == count else leaf[0], objective
    )
    scores = jax.vmap(one, in_axes=(axes,), axis_size=count)(own)
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))


def _of_each_place(objective: Objective, view: View, count: int) -> Any:
    """Scores `(units, images, places)`, of each place as if it were all there is."""
    ((site, activation),) = view.activations.items()
    n_images, *places, channels = activation.shape
    flat = activation.reshape(n_images, math.prod(places), channels)

    def one(place: Any) -> Any:
        alone = place.reshape(n_images, *(1 for _ in places), channels)
        view_of_one = view._replace(activations=OrderedDict({site: alone}))
        return _of_all_units(objective, view_of_one, count)

    return jax.vmap(one, in_axes=1, out_axes=2)(flat)


def _is_mean_of_places(bound: Objective, view: View) -> bool:
    """Whether a score is the mean of those of the places alone.

    That is a property of the objective's function, so it is tested on random numbers:
    it holds for channels, directions and their sums, and not for a neuron, a power, or
    what looks at outputs too.
    """
    shapes = [leaf.shape for leaf in view.activations.values()]
    if len(shapes) != 1 or len(shapes[0]) < 3:
        return False
    count, random = count_units(bound), np.random.default_rng(0)

    def filled(leaf: Any) -> Any:
        numbers = random.normal(size=(1, *leaf.shape[1:]))
        return jnp.asarray(numbers.astype(leaf.dtype))

    random_view = jax.tree.map(filled, view._replace(step=None))._replace(
        step=view.step
    )
    try:
        whole = _of_all_units(bound, random_view, count)[:, 0]
        parts = _of_each_place(bound, random_view, count)[:, 0]
    except (IndexError, TypeError, ValueError):  # it is not made for a single place
        return False
    tolerance = float(jnp.finfo(jnp.float32).eps) * 100
    error = jnp.abs(whole - parts.mean(axis=-1))
    return bool(jnp.all(error <= tolerance * jnp.abs(parts).mean(axis=-1)))
