"""Is the picture any good? What can be measured of pictures that `maximize` made.

None of these numbers says that a picture is understood: they say whether it drives the
unit, does so under small changes and in another network, looks like noise, and is
processed as photographs are. Look at the picture, and at natural examples, as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.pictures import by_unit, check_pictures
from jaxinterp.featurevis.quality.achieved_scores import achieved_scores, best_natural
from jaxinterp.featurevis.quality.card import Achieved, Scorecard
from jaxinterp.featurevis.quality.path_similarity import path_similarity
from jaxinterp.featurevis.quality.picture_diversity import picture_diversity
from jaxinterp.featurevis.quality.spectrum_slope import has_spectrum, spectrum_slope
from jaxinterp.featurevis.responses.dataset_examples import DatasetExamples
from jaxinterp.loop.static import hashable
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units
from jaxinterp.objectives.objective import Objective, Shapes, Where
from jaxinterp.objectives.reader import Preprocess, reader
from jaxinterp.tracing.selectors import Selector
from jaxinterp.types import ApplyFn


class SecondNetwork(NamedTuple):
    """Another network, in which pictures are tried: do they transfer?

    Attributes:
        apply_fn: the model.
        objective: its own units, as many as the pictures were made for and in the same
            order: the same classes.
        variables: of the model.
        natural: scores of natural examples in it, as `scorecard` takes them.
        preprocess: from pictures to inputs of the model; nothing by default.
    """

    apply_fn: ApplyFn
    objective: Objective | str
    variables: Any
    natural: DatasetExamples | Any
    preprocess: Preprocess | None = None


def scorecard(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Any,
    images: Any,
    *,
    natural: DatasetExamples | Any,
    count: int = 1,
    preprocess: Preprocess | None = None,
    transforms: Callable[[Any, Any], Any] | Sequence[Callable[[Any, Any], Any]] = (),
    samples: int = 16,
    key: Any = None,
    other: SecondNetwork | None = None,
    diversity_site: Where | None = None,
    natural_images: Any = None,
    arbitrary_images: Any = None,
    sites: Selector | str | None = None,
    names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Scorecard:
    """Measures how good the pictures are that were made for some units.

    | column | what it is | function of its own |
    |---|---|---|
    | natural | the best natural example's score | `dataset_examples` |
    | achieved | the score of the pictures as they are | `achieved_scores` |
    | ratio | that, divided by the natural one | `natural_ratio` |
    | transformed | the same ratio, mean over `transforms` | `achieved_scores` |
    | transferred | the same ratio in `other` | `achieved_scores` |
    | slope | of the power spectrum; -2 to -3 for photographs | `spectrum_slope` |
    | diversity | how much pictures of one unit differ | `picture_diversity` |
    | path | rank correlation of activations with natural ones | `path_similarity` |

    What needs an argument that is not given is left out. A picture that is not a number
    has no score, and the card says so; its unit is not above any example. Time is that
    of `samples` + 1 passes of the model over the pictures and one for each further
    column; memory grows with `batch_size`.

    Args:
        apply_fn: the model.
        objective: what the pictures were made for, without regularizers.
        variables: of the model.
        images: pictures `(units * count, ...)`, such as `maximize(...).images`.
        natural: what `dataset_examples` returned with `by="picture"` for the same
            objective, or scores `(units,)` or `(units, k)`.
        count: how many pictures each unit has, as in `maximize`.
        preprocess: from pictures to inputs of the model; nothing by default.
        transforms: random transforms that the score is to withstand.
        samples: over how many of them to average.
        key: of the transforms.
        other: a second network, a `SecondNetwork`.
        diversity_site: where pictures of one unit are compared; by default where the
            objective looks, if that is one site.
        natural_images: natural pictures that drive each unit, `(units, k, ...)`, such
            as `crops(batches, examples.top)`, to compare paths with.
        arbitrary_images: natural pictures `(m, ...)` of which nothing is known, other
            than `natural_images`, for the lower end of path similarity.
        sites: where paths are compared, a glob such as `"inception_*"`.
        names: of the units; by default the channel or class that the objective says.
        batch_size: at most so many pictures are looked at at once; all by default.
            Those of one unit are not divided.

    Returns:
        A printable `Scorecard`.

    Raises:
        AddressError: if the model has no such site.
        TypeError: if something is not of the kind that is asked for; under `jit`.
        ValueError: if shapes or numbers of units do not fit; if only one of
            `natural_images` and `sites` is given.

    Example:
        >>> images = jnp.array([[[0.9, 0.0]], [[0.0, 0.2]]])
        >>> print(scorecard(lambda w, x: jnp.tanh(w * x), "tanh:*", 1.0, images,
        ...                 natural=jnp.array([0.5, 0.0])))
        unit  natural  achieved  ratio
        ------------------------------
        0         0.5     0.716   1.43
        1           0     0.197   none
        Of 2 units, 2 (100%) are above their best natural example.
        Medians: ratio 1.43.
        No ratio for 1 of 2: the best natural score is not positive.

    References:
        Geirhos et al., 2024, section 3 [geirhos2024dont]; Olah et al., 2017
        [olah2017feature]; Borowski et al., 2021 [borowski2021exemplary].
    """
    asked = as_objective(objective)
    _check(images, natural_images, arbitrary_images, sites)
    if is_traced(variables, asked, images, natural):
        raise TypeError(
            "scorecard() returns numbers to read, and was given arrays that a "
            "transformation such as `jax.jit` is tracing.\nCall it outside of that; "
            "`achieved_scores` and the other functions can be called inside."
        )
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    _, shapes = reader(hashable(apply_fn), asked, variables, image, preprocess)
    bound = asked.bound(shapes)
    many = count_units(bound)
    grouped = by_unit(images, count, many)
    best = best_natural(natural, many)
    shared = {"count": count, "preprocess": preprocess, "batch_size": batch_size}
    model = (apply_fn, asked, variables, images)
    plain = Achieved(achieved_scores(*model, **shared), best)
    transformed = transferred = diversity = paths = None
    if transforms:
        moved = {"transforms": transforms, "samples": samples, "key": key}
        transformed = Achieved(achieved_scores(*model, **moved, **shared), best)
    if other is not None:
        transferred = _transferred(other, images, count, batch_size)
    site = diversity_site or _only_map(shapes)
    if count > 1 and site is not None:
        diversity = picture_diversity(apply_fn, site, variables, images, **shared)
    if sites is not None:
        seen = (apply_fn, sites, variables, images, natural_images)
        paths = path_similarity(*seen, arbitrary=arbitrary_images, **shared)
    slope = None
    if has_spectrum(images):
        slope = spectrum_slope(images, batch_size=batch_size).reshape(grouped.shape[:2])
    called = _names(bound, many, names)
    return Scorecard(called, plain, transformed, transferred, slope, diversity, paths)


def _transferred(
    other: Any, images: Any, count: int, batch_size: int | None
) -> Achieved:
    if not isinstance(other, SecondNetwork):
        raise TypeError(
            f"`other` is a second network, and is {type(other).__name__}.\nWrite "
            "`other=SecondNetwork(apply_fn, objective, variables, natural)`."
        )
    scores = achieved_scores(
        *(other.apply_fn, other.objective, other.variables, images),
        count=count,
        preprocess=other.preprocess,
        batch_size=batch_size,
    )
    return Achieved(scores, best_natural(other.natural, scores.shape[0]))


def _only_map(shapes: Shapes) -> Where | None:
    """The site that an objective reads, if it is one and has channels."""
    read = [site for site, shape in shapes.activations.items() if shape]
    return read[0] if len(read) == len(shapes.activations) == 1 else None


def _names(bound: Objective, many: int, names: Sequence[str] | None) -> tuple[str, ...]:
    """What the units are called: by their integers, if each has one of its own."""
    if names is not None:
        if isinstance(names, str) or len(names) != many:
            raise ValueError(f"`names` has one for each of {many} units: {names!r}.")
        return tuple(map(str, names))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(bound)]
    integers = [leaf for leaf in leaves if np.issubdtype(leaf.dtype, np.integer)]
    if len(integers) == 1 and integers[0].shape == (many,):
        return tuple(map(str, integers[0].tolist()))
    return tuple(map(str, range(many)))


def _check(images: Any, natural: Any, arbitrary: Any, sites: Any) -> None:
    check_pictures(images, "`images`")
    lacks_natural = natural is None
    if lacks_natural != (sites is None) or (lacks_natural and arbitrary is not None):
        raise ValueError(
            "Path similarity needs natural pictures and sites to compare them at.\n"
            "Write `natural_images=crops(batches, examples.top), sites='*'`, or "
            "neither of these and no `arbitrary_images`."
        )
