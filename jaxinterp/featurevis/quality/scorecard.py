"""Is the image any good? What can be measured of images that `maximize` made.

None of these numbers says that an image is understood: they say whether it drives the
unit, does so under small changes and in another network, looks like noise, and is
processed as photographs are. Look at the image, and at natural examples, as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.images import check_float_images
from jaxinterp.featurevis.quality.achieved_scores import (
    BesideNatural,
    achieved_scores,
    best_natural,
)
from jaxinterp.featurevis.quality.image_diversity import image_diversity
from jaxinterp.featurevis.quality.path_similarity import (
    PathSimilarity,
    path_similarity,
)
from jaxinterp.featurevis.quality.spectrum_slope import has_spectrum, spectrum_slope
from jaxinterp.featurevis.responses.dataset_examples import DatasetExamples
from jaxinterp.featurevis.transforms.recipes import Transforms
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.evaluate import count_units, unit_numbers
from jaxinterp.objectives.objective import Objective, Shapes
from jaxinterp.objectives.reader import reader
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.selectors import Selector
from jaxinterp.types import ApplyFn, Images, Key, Sites, Variables


class SecondNetwork(NamedTuple):
    """Another network, in which images are scored: do they transfer?

    Attributes:
        apply_fn: the other model, which scores the images as well.
        objective: the units of that model, as many as the images were made for and in
            the same order: the same classes.
        variables: the weights of the other model.
        natural: the scores of natural examples in it, as `scorecard` takes them.
    """

    apply_fn: ApplyFn
    objective: Objective | str
    variables: Variables
    natural: DatasetExamples | Any


@dataclasses.dataclass(frozen=True, eq=False)
class Scorecard:
    """What was measured; `None` stands for what was not measured.

    It prints as one row per unit, the mean over its images, and a summary.

    Attributes:
        names: the names of the units.
        plain: the scores of the images as they are.
        transformed: their mean scores over random transforms: robustness.
        transferred: their scores in a second network.
        slope: the slope of each image's power spectrum, `(units, count)`; `None` also
            for images that are too small.
        diversity: the difference between the images of each unit, `(units,)`; `None`
            also for `count=1`.
        paths: the rank correlations with natural images.
    """

    names: tuple[str, ...]
    plain: BesideNatural
    transformed: BesideNatural | None
    transferred: BesideNatural | None
    slope: Any
    diversity: Any
    paths: PathSimilarity | None

    @property
    def success_rate(self) -> float:
        """The share of units whose images score above the best natural example."""
        return float(self.plain.success_rate)

    @property
    def captions(self) -> tuple[str, ...]:
        """A line for each unit to write above its image: name, ratio and slope."""
        ratios, scores = np.asarray(self.plain.ratio), np.asarray(self.plain.mean)
        lines = [
            f"{name}: {_score(score)}" if np.isnan(ratio) else f"{name}: {ratio:.2g} x"
            for name, ratio, score in zip(self.names, ratios, scores, strict=True)
        ]
        if self.slope is not None:
            slopes = np.asarray(self.slope).mean(axis=1)
            lines = [
                line if np.isnan(slope) else f"{line}, slope {slope:.1f}"
                for line, slope in zip(lines, slopes, strict=True)
            ]
        return tuple(lines)

    def _columns(self) -> list[tuple[str, Any]]:
        """What the table shows: a head and `(units,)` for each column."""
        columns = [("natural", self.plain.natural), ("achieved", self.plain.mean)]
        columns.append(("ratio", self.plain.ratio))
        if self.transformed is not None:
            columns.append(("transformed", self.transformed.ratio))
        if self.transferred is not None:
            columns.append(("transferred", self.transferred.ratio))
        if self.slope is not None:
            columns.append(("slope", self.slope.mean(axis=1)))
        if self.diversity is not None:
            columns.append(("diversity", self.diversity))
        if self.paths is not None:
            overall = self.paths.overall
            columns.append(("path", overall.made[0]))
            columns.append(("natural path", overall.natural[0]))
            if overall.relative is not None:
                columns.append(("relative path", overall.relative[0]))
        return [(head, np.asarray(values)) for head, values in columns]

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        columns = self._columns()
        head = ("unit", *(name for name, _ in columns))
        rows = [
            (name, *(_text(head, values[i]) for head, values in columns))
            for i, name in enumerate(self.names)
        ]
        return head, rows

    def _summary(self) -> list[str]:
        number = len(self.names)
        is_one = number == 1
        what = " is above its" if is_one else " are above their"
        what += " best natural example"
        kinds = {"": self.plain, " under transforms": self.transformed}
        kinds[" in the second network"] = self.transferred
        shares = [
            f"{int(kind.is_success.sum())} ({kind.success_rate:.0%}){where or what}"
            for where, kind in kinds.items()
            if kind is not None
        ]
        lines = [f"Of {number} unit{'' if is_one else 's'}, {', '.join(shares)}."]
        medians = [
            f"{head} {_text(head, np.nanmedian(values))}"
            for head, values in self._columns()[2:]
            if not np.isnan(values).all()
        ]
        lines.append(f"Medians: {', '.join(medians) or 'none'}.")
        for where, kind in kinds.items():
            if kind is None:
                continue
            is_nan = np.isnan(np.asarray(kind.mean))
            n_without = int((np.isnan(np.asarray(kind.ratio)) & ~is_nan).sum())
            if n_without and where != " under transforms":
                lines.append(
                    f"No ratio for {n_without} of {number}{where}: the best natural "
                    "score is not positive."
                )
            if is_nan.any():
                lines.append(
                    f"No score for {int(is_nan.sum())} of {number}{where}: it is not a "
                    f"number (NaN) for unit {self.names[int(is_nan.argmax())]}."
                )
        return lines

    def __str__(self) -> str:
        head, rows = self._table()
        table = format_table(head, rows, right=tuple(range(1, len(head))))
        return "\n".join([table, *self._summary()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "<br>".join(self._summary())
        return f"{html_table(*self._table())}<p>{lines}</p>"


def scorecard(
    apply_fn: ApplyFn,
    objective: Objective | str,
    variables: Variables,
    images: Images,
    *,
    natural: DatasetExamples | Any,
    count: int = 1,
    transforms: Transforms = (),
    samples: int = 16,
    key: Key | None = None,
    other: SecondNetwork | None = None,
    diversity_site: Sites | None = None,
    natural_images: Images | None = None,
    arbitrary_images: Images | None = None,
    sites: Selector | str | None = None,
    names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Scorecard:
    """Measures how good the images are that were made for some units.

    | column | what it is | function of its own |
    |---|---|---|
    | natural | the best natural example's score | `dataset_examples` |
    | achieved | the score of the images as they are | `achieved_scores` |
    | ratio | that, divided by the natural one | `beside_natural` |
    | transformed | the same ratio, mean over `transforms` | `achieved_scores` |
    | transferred | the same ratio in `other` | `achieved_scores` |
    | slope | of the power spectrum; -2 to -3 for photographs | `spectrum_slope` |
    | diversity | how much images of one unit differ | `image_diversity` |
    | path | rank correlation of activations with natural ones | `path_similarity` |

    What needs an argument that is `None` is left out. An image that is not a number
    has no score, and the table says so; its unit is not above any example. Time is that
    of `samples` + 1 passes of the model over the images and one for each further
    column; memory grows with `batch_size`.

    Args:
        apply_fn: the model.
        objective: the objective that the images were made for, without regularizers.
        variables: the weights of the model.
        images: the images, `(units * count, ...)`, such as `maximize(...).images`.
        natural: what `dataset_examples` returned with `by="image"` for the same
            objective, or scores `(units,)` or `(units, k)`.
        count: the number of images of each unit, as in `maximize`.
        transforms: random transforms that the score has to withstand, as in `maximize`.
        samples: the number of transforms to average over.
        key: the random key of the transforms.
        other: a second network in which the images are scored.
        diversity_site: the site where images of one unit are compared; by default the
            one that the objective reads, if that is one.
        natural_images: natural images that drive each unit, `(units, k, ...)`, such
            as `crops(batches, examples.top)`, to compare paths with.
        arbitrary_images: natural images `(m, ...)` of which nothing is known, other
            than `natural_images`, for the lower end of path similarity.
        sites: the sites where paths are compared, a glob such as `"inception_*"`.
        names: the names of the units; by default the channels or classes that the
            objective says.
        batch_size: the largest number of images that are computed at once; all by
            default. Those of one unit are not divided.

    Returns:
        A printable `Scorecard`.

    Raises:
        AddressError: if the model has no such site.
        TypeError: if an argument is of another kind than its description says; under
            `jit`.
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
    objective = as_objective(objective)
    _check(images, natural_images, arbitrary_images, sites)
    if is_traced(variables, objective, images, natural):
        raise TypeError(
            "scorecard() returns numbers to read, and was given arrays that a "
            "transformation such as `jax.jit` is tracing.\nCall it outside of that; "
            "`achieved_scores` and the other functions can be called inside."
        )
    image = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
    _, shapes = reader(apply_fn, objective, variables, image)
    bound = objective.bound(shapes)
    n_units = count_units(bound)
    best = best_natural(natural, n_units)
    shared = {"count": count, "batch_size": batch_size}
    model = (apply_fn, objective, variables, images)
    plain = BesideNatural(achieved_scores(*model, **shared), best)
    transformed = transferred = slope = diversity = paths = None
    if transforms:
        views = {"transforms": transforms, "samples": samples, "key": key}
        scores = achieved_scores(*model, **views, **shared)
        transformed = BesideNatural(scores, best)
    if other is not None:
        transferred = _transferred(other, images, count, batch_size)
    site = diversity_site or _only_map(shapes)
    if count > 1 and site is not None:
        diversity = image_diversity(apply_fn, site, variables, images, **shared)
    if sites is not None:
        arguments = (apply_fn, sites, variables, images, natural_images)
        paths = path_similarity(*arguments, arbitrary=arbitrary_images, **shared)
    if has_spectrum(images):
        slope = spectrum_slope(images, batch_size=batch_size).reshape(n_units, count)
    columns = (plain, transformed, transferred, slope, diversity, paths)
    return Scorecard(_names(bound, n_units, names), *columns)


def _transferred(
    other: Any, images: Any, count: int, batch_size: int | None
) -> BesideNatural:
    if not isinstance(other, SecondNetwork):
        raise TypeError(
            f"`other` is a second network, and is {type(other).__name__}.\nWrite "
            "`other=SecondNetwork(apply_fn, objective, variables, natural)`."
        )
    scores = achieved_scores(
        *(other.apply_fn, other.objective, other.variables, images),
        count=count,
        batch_size=batch_size,
    )
    return BesideNatural(scores, best_natural(other.natural, scores.shape[0]))


def _only_map(shapes: Shapes) -> Sites | None:
    """The site that an objective reads, if it is one and has channels."""
    read = [site for site, shape in shapes.activations.items() if shape]
    return read[0] if len(read) == len(shapes.activations) == 1 else None


def _names(
    bound: Objective, n_units: int, names: Sequence[str] | None
) -> tuple[str, ...]:
    """What the units are called: by their integers, if each has one of its own."""
    if names is not None:
        if isinstance(names, str) or len(names) != n_units:
            raise ValueError(f"`names` has one for each of {n_units} units: {names!r}.")
        return tuple(map(str, names))
    return tuple(map(str, unit_numbers(bound) or range(n_units)))


def _check(images: Any, natural: Any, arbitrary: Any, sites: Any) -> None:
    check_float_images(images, "`images`")
    lacks_natural = natural is None
    if lacks_natural != (sites is None) or (lacks_natural and arbitrary is not None):
        raise ValueError(
            "Path similarity needs natural images and sites to compare them at.\n"
            "Write `natural_images=crops(batches, examples.top), sites='*'`, or "
            "neither of these and no `arbitrary_images`."
        )


def _text(head: str, value: Any) -> str:
    return _score(value) if head in ("natural", "achieved") else cell(value)


def _score(value: Any) -> str:
    return cell(value, ".3g", undefined="NaN")
