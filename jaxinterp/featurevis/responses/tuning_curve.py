"""How the response of a unit changes with one property of a stimulus."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from jaxinterp.checks import is_traced
from jaxinterp.loop.chunks import chunk_size, over_units
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
        objective: an objective of one or many units, or a string for it:
            `channel("Conv_0")`, or `"Conv_0:*"`, is all channels of a layer.
        variables: the weights of the model.
        stimuli: images, with an axis in front for each parameter that is varied.
        axes: the number of such axes.
        batch_size: the largest number of images that are computed at once; all of them
            by default.

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
    grid, shape = stimuli.shape[:axes], stimuli.shape[axes:]
    flat = stimuli.reshape(-1, *shape)
    scores, bound = scorer(apply_fn, objective, variables, flat, has_places=False)
    check_alone(bound, "tuning_curve")
    score = jax.jit(lambda w, o, images: scores(w, o, images).images.T)
    curves = over_units(
        lambda index: score(variables, bound, flat[index]),
        len(flat),
        chunk_size(batch_size, 1, len(flat)),
        is_inner=is_traced(variables, bound, flat),
    )
    return curves.T.reshape(-1, *grid)
