"""What `maximize` is to do in order to edit given images."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxinterp.featurevis.images import check_range
from jaxinterp.featurevis.parametrizations.parametrization import Parametrization
from jaxinterp.objectives.objective import Objective, custom
from jaxinterp.objectives.reader import reader
from jaxinterp.types import ApplyFn, Images, Sites, Variables


class Problem(NamedTuple):
    """What to maximize and from where: arguments of `maximize`.

    Write `maximize(apply_fn, variables=variables, key=key, **problem._asdict())`.
    Steps, transforms and optimizer are further arguments of `maximize`; the objective
    can be combined: `problem._replace(objective=problem.objective - norm(2))`.

    Attributes:
        objective: the objective to maximize.
        parametrization: the parametrization of the images, which says where they start.
        count: the number of images of each unit of the objective.
    """

    objective: Objective
    parametrization: Parametrization
    count: int


def checked_batch(images: Images) -> Any:
    """Returns images as an array.

    Args:
        images: the images, `(batch, ...)`, floats in [0, 1].

    Raises:
        ValueError: if there is none, or they are not floats in [0, 1].
    """
    images = jnp.asarray(images)
    if images.ndim < 2 or not images.shape[0]:
        raise ValueError(
            "There must be at least one image, with the batch in front, (batch, height,"
            f" width, channels); the images have shape {images.shape}."
        )
    check_range(images)
    return images


def activations_of(
    apply_fn: ApplyFn, sites: tuple[Sites, ...], variables: Variables, images: Images
) -> dict[Sites, Any]:
    """Returns what a model computes of images at some sites.

    Args:
        apply_fn: the model.
        sites: the sites whose activations are read.
        variables: the weights of the model.
        images: the images, `(batch, ...)`.
    """
    objective = custom(lambda view: jnp.zeros(()), *sites)
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    model, _ = reader(apply_fn, objective, variables, image)
    return jax.jit(lambda w, x: model(w, x)[0])(variables, images)
