"""Images that are given to be edited, and what a model computes of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxinterp.featurevis.pictures import check_range
from jaxinterp.objectives.objective import Where, custom
from jaxinterp.objectives.reader import Preprocess, reader
from jaxinterp.types import ApplyFn


def checked_batch(images: Any) -> Any:
    """Returns given images as an array.

    Args:
        images: `(batch, ...)`, floats in [0, 1].

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
    apply_fn: ApplyFn,
    sites: tuple[Where, ...],
    variables: Any,
    images: Any,
    preprocess: Preprocess | None,
) -> dict[Where, Any]:
    """Returns what a model computes of images at some sites.

    Args:
        apply_fn: the model.
        sites: whose activations are read.
        variables: the weights of the model.
        images: `(batch, ...)`.
        preprocess: from images to inputs of the model.
    """
    objective = custom(lambda view: jnp.zeros(()), *sites)
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    read, _ = reader(apply_fn, objective, variables, image, preprocess)
    return jax.jit(lambda w, x: read(w, x)[0])(variables, images)
