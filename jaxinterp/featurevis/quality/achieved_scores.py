"""The score that images reach for the unit they were made for, and whether it is much.

An activation has no scale of its own: it is compared with that of the best natural
example.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integer, is_traced
from jaxinterp.featurevis.images import by_unit, check_float_images
from jaxinterp.featurevis.responses.dataset_examples import DatasetExamples
from jaxinterp.featurevis.transforms.recipes import Transforms, as_transform
from jaxinterp.featurevis.transforms.transform import Compose
from jaxinterp.keys import check_key, folded
from jaxinterp.loop.chunks import chunk_size, each_chunk, over_units
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units, unit_keys, units
from jaxinterp.objectives.objective import Objective
from jaxinterp.objectives.reader import Reader, reader
from jaxinterp.objectives.scorer import scores_of_own_images
from jaxinterp.types import ApplyFn, Images, Key, Variables


def achieved_scores(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    images: Images,
    *,
    count: int = 1,
    transforms: Transforms = (),
    samples: int = 16,
    key: Key | None = None,
    batch_size: int | None = None,
) -> Any:
    r"""Returns the score that each image reaches for the unit it was made for.

    $$\frac{1}{\text{samples}} \sum_t s_u\big(t(x)\big)$$

    Without `transforms` this is $s_u(x)$. Time grows with `samples` and the images;
    memory with `batch_size`. No score depends on other units, or on `batch_size`.

    Args:
        apply_fn: the model; of arrays that it holds itself, see `maximize`.
        objective: the objective that the images were made for, without regularizers if
            the score is to be compared with natural examples. Schedules stand at step
            0.
        variables: the weights of the model.
        images: the images, `(units * count, ...)`, in the order of the units.
        count: the number of images of each unit.
        transforms: random transforms to average over, such as those of `maximize`; each
            image and sample has its own. They stand at the end of the optimization.
        samples: the number of transforms of each image.
        key: the random key of the transforms.
        batch_size: the largest number of images that are computed at once; all by
            default. Images of one unit are not divided.

    Returns:
        `(units, count)`, in the units of the objective, float32 at least.

    Raises:
        AddressError: if the model has no such site.
        TypeError: if the images are not floats, or there are transforms and no key.
        ValueError: if the number of images does not fit, or a number is no positive
            integer.

    Example:
        >>> from jaxinterp.featurevis import channel
        >>> model = lambda w, x: jnp.tanh(w * x)
        >>> images = jnp.array([[[1.0, 0.0]], [[0.0, 2.0]]])
        >>> scores = achieved_scores(model, channel("tanh"), 1.0, images)
        >>> np.asarray(scores[:, 0], float).round(2).tolist()
        [0.76, 0.96]

    References:
        Olah et al., 2017, "The Enemy of Feature Visualization" [olah2017feature].
    """
    samples = checked_integer("samples", samples, 1, call="achieved_scores")
    if transforms or key is not None:
        check_key("achieved_scores", key)
    transform = None
    if transforms:
        transform = as_transform(transforms).at(1.0)
    objective = as_objective(objective)
    check_float_images(images, "`images`")
    image = inputs = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    if transform is not None:
        inputs = jax.eval_shape(transform, jax.random.key(0), image)
    model, shapes = reader(apply_fn, objective, variables, inputs)
    bound = objective.bound(shapes._replace(image=image.shape))
    n_units = count_units(bound)
    groups = by_unit(images, count, n_units)
    keys = unit_keys(jax.random.key(0) if key is None else key, bound)
    is_inner = is_traced(variables, bound, images, keys)

    def chunk(index: Any) -> Any:
        own = units(bound, index), keys[index], groups[index]
        numbers = np.arange(1 if transform is None else samples)
        scores = each_chunk(
            lambda number: _scores(model, transform, variables, *own, number),
            numbers,
            is_inner=is_inner,
        )
        return scores.mean(axis=0)

    size = chunk_size(batch_size, count, n_units)
    return over_units(chunk, n_units, size, is_inner=is_inner)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _scores(
    model: Reader,
    transform: Compose | None,
    variables: Variables,
    objective: Objective,
    keys: Any,
    images: Images,
    number: Any,
) -> Any:
    """The scores `(units, count)` of images `(units, count, ...)` in one sample."""
    inputs = images
    if transform is not None:

        def view_of(key: Any, index: Any, image: Any) -> Any:
            return transform(folded(key, index, number), image)

        views = jax.vmap(jax.vmap(view_of, in_axes=(None, 0, 0)), in_axes=(0, None, 0))
        inputs = views(keys, jnp.arange(images.shape[1]), images)
    arguments = (model, variables, objective, images, inputs[None])
    scores = scores_of_own_images(*arguments)[0]
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))


class BesideNatural(NamedTuple):
    """Scores of made images beside those of natural examples.

    Attributes:
        scores: the scores of the made images, `(units, count)`, in the units of the
            objective.
        natural: the score of the best natural example, `(units,)`.
    """

    scores: Any
    natural: Any

    @property
    def mean(self) -> Any:
        """The mean score of the images of each unit, `(units,)`."""
        return self.scores.mean(axis=1)

    @property
    def ratio(self) -> Any:
        r"""The score of a unit as a multiple of its best natural example's, `(units,)`.

        $$\frac{\operatorname{mean}_i a_{ui}}{\max_j n_{uj}}$$

        Above 1 the images drive the unit more than any example. There is no such
        multiple where the best natural score is not positive: a unit that no image
        excites, a logit below zero. There the ratio is NaN; `is_success` still tells.
        """
        best = self.natural
        return jnp.where(best > 0, self.mean / jnp.where(best > 0, best, 1), jnp.nan)

    @property
    def is_success(self) -> Any:
        """Whether the mean is above the best natural score, `(units,)`.

        Where there is a ratio, that is so if it is above 1.
        """
        return self.mean > self.natural

    @property
    def success_rate(self) -> Any:
        """The share of units that images drive more than the best natural one does."""
        return self.is_success.mean()


def beside_natural(scores: Any, natural: DatasetExamples | Any) -> BesideNatural:
    """Lays the scores of made images beside those of natural examples.

    Args:
        scores: the scores of the images of each unit, `(units, count)` or `(units,)`,
            such as `achieved_scores` returns.
        natural: what `dataset_examples` returned with `by="image"` for the same
            objective; or scores, `(units,)` or `(units, k)`, of which NaN stands for
            examples that are missing.

    Returns:
        A tuple of both, with the ratio and the share of units that were successful.

    Raises:
        ValueError: if there are natural scores for another number of units, or none
            for one, or examples that were scored by their best place.

    Example:
        >>> scores = jnp.array([[3.0, 5.0], [1.0, 1.0]])
        >>> beside = beside_natural(scores, jnp.array([2.0, 0.0]))
        >>> beside.ratio.tolist(), float(beside.success_rate)
        ([2.0, nan], 1.0)

    References:
        Olah et al., 2017, "The Enemy of Feature Visualization" [olah2017feature].
    """
    scores = jnp.asarray(scores)
    if scores.ndim not in (1, 2) or not scores.size:
        raise ValueError(
            "What was achieved has shape (units,) or (units, count), and this has "
            f"{scores.shape}. Write `achieved_scores(...)`."
        )
    best = best_natural(natural, scores.shape[0])
    return BesideNatural(scores.reshape(scores.shape[0], -1), best)


def best_natural(natural: DatasetExamples | Any, n_units: int) -> Any:
    """Returns the score of the best natural example of each unit.

    Args:
        natural: what `dataset_examples` returned, or scores `(units,)` or
            `(units, k)`; of the latter NaN stands for examples that are missing.
        n_units: the number of units.

    Raises:
        ValueError: if there are scores for another number of units, or none for one,
            or examples that were scored by their best place.
    """
    scores = natural
    if isinstance(natural, DatasetExamples):
        scores = natural.top.scores
        if natural.by != "image":
            raise ValueError(
                f"The natural examples are scored by={natural.by!r}, and images that "
                "were made as a whole: their numbers cannot be compared.\nWrite "
                "`dataset_examples(..., by='image')`."
            )
    scores = jnp.asarray(scores)
    if scores.ndim not in (1, 2) or scores.shape[0] != n_units or not scores.size:
        raise ValueError(
            "`natural` has the scores of natural examples, of shape (units,) or (units,"
            f" k) for {n_units} units, and its shape is {scores.shape}.\nWrite "
            "`natural=dataset_examples(apply_fn, objective, variables, batches)` for "
            "the objective of the images."
        )
    best = scores if scores.ndim == 1 else jnp.nanmax(scores, axis=1)
    missing = [] if is_traced(best) else np.flatnonzero(np.isnan(np.asarray(best)))
    if len(missing):
        raise ValueError(
            f"Unit {missing[0]} (and {len(missing) - 1} others) has no natural score "
            "that is a number.\nLeave these units out, or look at more images."
        )
    return best
