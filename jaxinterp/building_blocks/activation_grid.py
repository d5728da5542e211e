r"""`activation_grid`: an image of what a layer sees, one for each position."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxinterp.building_blocks.layer import activation_of
from jaxinterp.featurevis.optimize.maximize import maximize
from jaxinterp.featurevis.transforms.recipes import Transforms
from jaxinterp.objectives.direction import direction
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Variables


class ActivationGrid(NamedTuple):
    r"""What a layer sees at each position of its inputs.

    Attributes:
        images: an image for each position, `(batch, *positions, height, width,
            channels)`, in [0, 1].
        lengths: the length $\lVert a_p \rVert$ of the activation there, `(batch,
            *positions)`. Draw the image of a position no larger than it deserves: one
            of a silent position shows noise as clearly as others show what is there.
    """

    images: Any
    lengths: Any


def activation_grid(
    apply_fn: ApplyFn,
    at: Sites,
    variables: Variables,
    inputs: Inputs,
    *,
    key: Key,
    shape: Iterable[int],
    cosine_power: float = 0.0,
    transforms: Transforms = (),
    steps: int = 256,
    batch_size: int | None = None,
    progress: bool = True,
) -> ActivationGrid:
    r"""Makes an image for each position that excites all channels as that position is.

    $$x_p = \arg\max_x \; \overline{a(x) \cdot a_p}$$

    the mean over all positions of $x$, by `maximize` of `direction`. Each image is made
    on its own, all from the same noise. For another parametrization or optimizer give
    `direction(at, activations)` to `maximize` yourself. Time and memory are those of
    `maximize` for as many units as there are positions.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        at: the layer, a site whose activation is `(batch, *positions, channels)`.
        variables: the weights of the model.
        inputs: the images to be seen, a batch.
        key: the random key of the first images and of the transforms.
        shape: the shape of the images that are made, `(height, width, channels)`. They
            may be smaller than the inputs, about as large as the receptive field.
        cosine_power: how much an activation *like* that of the position counts for more
            than a large one, see `direction`.
        transforms: the transforms that images have to withstand.
        steps: the number of steps.
        batch_size: the largest number of images that are computed at once.
        progress: whether to show a progress bar.

    Returns:
        The images, and how strong the activation is that they show.

    Raises:
        AddressError: if there is no such site.
        ValueError: if the site is no such layer, or a number is out of range.
        TypeError: if there is no key.

    References:
        Olah et al., 2018, on activation grids [olah2018building].

    Example:
        >>> model, x = lambda w, x: jax.nn.relu(x), jnp.eye(3)[None, :2]
        >>> grid = activation_grid(
        ...     model, "relu", None, x, key=jax.random.key(0), shape=(2, 3), steps=2,
        ...     progress=False)
        >>> grid.images.shape, grid.lengths.tolist()
        ((1, 2, 2, 3), [[1.0, 1.0]])
    """
    cube = activation_of("activation_grid", apply_fn, at, variables, inputs)
    places = cube.shape[:-1]
    result = maximize(
        apply_fn,
        direction(at, cube.reshape(-1, cube.shape[-1]), cosine_power=cosine_power),
        variables,
        key=key,
        shape=shape,
        transforms=transforms,
        steps=steps,
        batch_size=batch_size,
        progress=progress,
    )
    images = result.images.reshape(*places, *result.images.shape[1:])
    return ActivationGrid(images, jnp.sqrt((cube * cube).sum(axis=-1)))
