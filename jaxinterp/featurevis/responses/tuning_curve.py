"""How the response of a unit changes with one property of a stimulus."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxinterp.loop.chunks import chunk_indices, chunk_size
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.scorer import check_alone, scorer
from jaxinterp.types import ApplyFn, Images, Variables


def tuning_curve(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    stimuli: Images,
    *,
    axes: int = 1,
    batch_size: int | None = None,
) -> Float[Array, "units ..."]:
    """Returns what every unit answers to each stimulus.

    All units share one pass of the model. Time grows with the stimuli; memory with
    `batch_size`.

    Args:
        apply_fn: the model.
        objective: the objective of one or many units, or a string: `channel("Conv_0")`,
            or `"Conv_0:*"`, is all channels of a layer.
        variables: the weights of the model.
        stimuli: images, with an axis in front for each parameter that is varied.
        axes: how many such axes there are.
        batch_size: how many images to take at once; all of them by default.

    Returns:
        Scores with the axes of the parameters, in the units of the objective.

    Raises:
        AddressError: if the model has no such site.
        ValueError: if `stimuli` has no image or no such axes, or `batch_size` is not
            positive.

    Example:
        >>> from jaxinterp.featurevis import Ground, channel, gratings
        >>> upright = jnp.array([-1.0, 1.0, -1.0]).reshape(1, 1, 3, 1)
        >>> def model(w, x):
        ...     return jnp.tanh((x * w).sum((1, 2)))
        >>> ground = Ground((3, 3, 1))
        >>> stimuli = gratings(ground, jnp.array([0.0, np.pi / 2]), 0.5)
        >>> curves = tuning_curve(model, channel("tanh"), upright, stimuli)
        >>> [round(value, 3) for value in curves[0].tolist()]
        [0.995, -0.762]
    """
    if axes < 0 or stimuli.ndim <= axes or not stimuli.size:
        raise ValueError(
            f"`stimuli` has {axes} axes of parameters and then those of an image, and "
            f"its shape is {tuple(stimuli.shape)}. Write `axes=` for their number."
        )
    grid, image_shape = stimuli.shape[:axes], stimuli.shape[axes:]
    images_flat = stimuli.reshape(-1, *image_shape)
    scores, bound = scorer(
        apply_fn, objective, variables, images_flat, has_places=False
    )
    check_alone(bound, "tuning_curve")
    score = jax.jit(lambda w, o, images: scores(w, o, images).pictures)
    count = len(images_flat)
    indices = chunk_indices(count, chunk_size(batch_size, 1, count))
    parts = [score(variables, bound, images_flat[index]) for index in indices]
    return jnp.concatenate(parts, axis=1)[:, :count].reshape(-1, *grid)
