r"""Network dissection: which concepts the units of a layer detect, by their pixels.

$M_k$ are the pixels at which unit $k$ is most active, and $L_c$ those of a concept,
both in all images of a dataset.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import check_outside, checked_real
from jaxinterp.featurevis import activation_distribution
from jaxinterp.loop.histogram import MOST
from jaxinterp.loop.stream import check_stream, everywhere, first_invalid, over_stream
from jaxinterp.objectives.unit import channel
from jaxinterp.pytree import pytree, static
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.split import read_channels_last
from jaxinterp.types import ApplyFn, Sites, Variables

# A unit is a detector of a concept above this overlap, as Bau et al. have it.
DETECTS = 0.04
# The relative error of a threshold.
_ACCURACY = 0.0005
_HEAD = ("unit", "concept", "IoU", "cap", "area")


@pytree
class Dissection:
    """How far the units of a layer overlap with concepts; it prints as a table.

    Attributes:
        thresholds: the activation above which a unit counts as active, `(units,)`.
        n_both: the number of pixels of a unit and a concept, `(units, concepts)`.
        n_active: the number of pixels at which a unit is active, `(units,)`.
        n_shown: the number of pixels that a concept has, `(concepts,)`.
        n_pixels: the number of pixels of all images together.
        concepts: the names of the concepts.
    """

    thresholds: Any
    n_both: Any
    n_active: Any
    n_shown: Any
    n_pixels: int = static()
    concepts: tuple[str, ...] = static()

    @property
    def iou(self) -> Any:
        """The overlap of each unit with each concept, `(units, concepts)`.

        It lies between 0 and 1, and is NaN where neither has a pixel.
        """
        active, shown, both = self._sizes()
        return _quotient(both, active + shown - both)

    @property
    def cap(self) -> Any:
        """The largest overlap that they could have, by the size of both."""
        active, shown, _ = self._sizes()
        return _quotient(np.minimum(active, shown), np.maximum(active, shown))

    @property
    def areas(self) -> Any:
        """The share of all pixels at which a unit is active, `(units,)`."""
        return np.asarray(self.n_active, np.float64) / self.n_pixels

    @property
    def coverages(self) -> Any:
        """The share of all pixels that a concept has, `(concepts,)`."""
        return np.asarray(self.n_shown, np.float64) / self.n_pixels

    def detectors(self, threshold: float = DETECTS) -> dict[str, list[int]]:
        """Returns the units that detect each concept, those that fit best first.

        A unit belongs to the concept that it overlaps with most, if by more than the
        threshold. The number of concepts with a unit is that of unique detectors.

        Args:
            threshold: the overlap above which a unit is a detector.

        Raises:
            ValueError: if it is not between 0 and 1.
        """
        threshold = checked_real("threshold", threshold, 0, 1, call="detectors")
        overlaps = np.nan_to_num(self.iou)
        best, units = overlaps.argmax(axis=1), np.argsort(-overlaps.max(axis=1))
        return {
            name: [int(k) for k in units if best[k] == c and overlaps[k, c] > threshold]
            for c, name in enumerate(self.concepts)
        }

    def _sizes(self) -> tuple[Any, Any, Any]:
        """The pixels of units as a column, of concepts as a row, and of both."""
        sizes = self.n_active[:, None], self.n_shown[None], self.n_both
        active, shown, both = (np.asarray(size, np.float64) for size in sizes)
        return active, shown, both

    def _rows(self) -> list[tuple[str, ...]]:
        iou, cap, areas = self.iou, self.cap, self.areas
        return [
            (
                str(unit),
                self.concepts[concept],
                cell(float(iou[unit, concept]), ".3f"),
                cell(float(cap[unit, concept]), ".3f"),
                cell(float(areas[unit]), ".4f"),
            )
            for unit, concept in enumerate(np.nan_to_num(iou).argmax(axis=1))
        ]

    def __str__(self) -> str:
        return format_table(_HEAD, self._rows(), right=(0, 2, 3, 4))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(_HEAD, self._rows())


def dissect(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    batches: Iterable[tuple[Any, Mapping[str, Any]]],
    *,
    quantile: float = 0.005,
    resume: Dissection | None = None,
    progress: bool = True,
) -> Dissection:
    r"""Compares the pixels at which each unit is most active with those of concepts.

    $$\mathrm{IoU}_{kc} = \frac{\sum_x |M_k(x) \cap L_c(x)|}
                               {\sum_x |M_k(x) \cup L_c(x)|}, \qquad
      P(a_k > T_k) = q$$

    Both sums are over the whole dataset, and so is the quantile, over all images and
    positions; $T_k$ has a relative error of 0.0005, which units that saturate below a
    bound may notice: see `areas`. Maps are brought to the size of the masks bilinearly,
    and then $M_k = \{a_k > T_k\}$. A unit of a relu that is active more rarely than
    $q$ has the threshold 0; one whose largest values are all equal is never active.

    The overlap is capped by the sizes of both, at $\min(m, l) / \max(m, l)$ for shares
    $m$ and $l$ of the pixels: at $q = 0.005$ a unit that fires on a concept of 2 % of
    the pixels and nowhere else has no more than 0.25. Cost: two passes over the data;
    memory does not grow with it.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        site: the layer, an address or a selector of one site, whose activation is
            `(batch, rows, columns, units)`.
        variables: the weights of the model.
        batches: pairs of images and masks; a batch of masks maps the name of each
            concept to an array `(batch, height, width)` of booleans. It is read twice,
            so that it is a list or the like, and no generator, unless `resume` is
            given.
        quantile: $q$, the share of positions at which a unit counts as active.
        resume: the result for the images before: its thresholds stay, whatever
            `quantile` is, and the new images add to its pixels in one pass.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        The overlap of each unit with each concept, with its cap.

    Raises:
        AddressError: if there is no such site.
        AmbiguousAddressError: if there are several such sites.
        FloatingPointError: if an activation is not finite; names the batch.
        OverflowError: if there are more pixels than 32 bits can count.
        TypeError: if `batches` can be read once alone, or holds no such pairs.
        ValueError: if the quantile is not between 0 and 1, there is no batch, the site
            has no positions, masks are no maps of booleans, or `resume` is of other
            units or concepts.

    References:
        Bau et al., 2017 [bau2017network].

    Example:
        >>> number = jnp.arange(400.0).reshape(1, 20, 20)
        >>> dots = number % 80 == 3
        >>> batch = jnp.where(dots, number / 100, 0)[..., None], {"dot": dots}
        >>> model = lambda w, x: jnp.tanh(w * x)
        >>> print(dissect(model, "tanh", 1.0, [batch], quantile=0.02))
        unit  concept    IoU    cap    area
        -----------------------------------
           0  dot      1.000  1.000  0.0125
    """
    quantile = checked_real("quantile", quantile, 0, 1, call="dissect")
    check_outside("dissect", "reads a stream on the host", variables)
    check_stream(batches)
    encode = read_channels_last(apply_fn, site)
    if resume is None:
        resume = _without_pixels(apply_fn, site, variables, batches, quantile, progress)
    elif not isinstance(resume, Dissection):
        raise TypeError(
            "`resume` is what an earlier call of dissect() returned, and is "
            f"{type(resume).__name__}."
        )
    return over_stream(
        *("dissect", batches),
        functools.partial(_start, encode, variables, resume),
        constants=variables,
        invalid="not finite",
        name="overlaps" if progress else "",
        is_tree=True,
    )


def _without_pixels(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    batches: Any,
    quantile: float,
    progress: bool,
) -> Dissection:
    """The thresholds of all units, before the second pass."""
    if isinstance(batches, Iterator):
        raise TypeError(
            "dissect reads `batches` twice, for thresholds and for overlaps, and "
            f"{type(batches).__name__} can be read once. Give a list."
        )
    encode = read_channels_last(apply_fn, site)
    for batch in batches:
        names = _concepts(encode, variables, batch)
        break
    else:
        names = ()  # which is an error of the pass
    thresholds = activation_distribution(
        *(apply_fn, channel(site), variables, _Images(batches)),
        by="place",
        accuracy=_ACCURACY,
        progress=progress,
    ).quantile(1 - quantile)
    units, k = len(thresholds), len(names)
    sizes = (np.zeros(shape, np.uint32) for shape in ((units, k), (units,), (k,)))
    return Dissection(thresholds, *sizes, n_pixels=0, concepts=names)


def _concepts(encode: ApplyFn, variables: Variables, batch: Any) -> tuple[str, ...]:
    """The names of the concepts of a batch, if its activation is a map."""
    images, masks = _checked(batch)
    shape = jax.eval_shape(encode, variables, images).shape
    if len(shape) != 4:
        raise ValueError(
            "dissect compares maps, (batch, rows, columns, units), and the "
            f"activation at the site has the shape {shape}."
        )
    return tuple(sorted(masks))


class _Images:
    """The images of pairs of images and masks, each time it is read."""

    def __init__(self, batches: Iterable[Any]):
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return (_checked(batch)[0] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches) if isinstance(self.batches, Sized) else 0


def _checked(batch: Any) -> tuple[Any, Mapping[str, Any]]:
    """A batch, if it is a pair of images and masks by name."""
    is_pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not is_pair or not isinstance(batch[1], Mapping) or not batch[1]:
        raise TypeError(
            "dissect: each batch is a pair `(images, {'striped': mask})`, and one is "
            f"{type(batch).__name__}."
        )
    images, masks = batch
    shapes = {np.shape(mask) for mask in masks.values()}
    dtypes = {jnp.asarray(mask).dtype for mask in masks.values()}
    (shape, *others) = shapes
    if others or len(shape) != 3 or dtypes != {jnp.dtype(bool)}:
        raise ValueError(
            "dissect: masks are booleans of one shape (batch, height, width), and are "
            f"{', '.join(sorted(map(str, dtypes)))} of "
            f"{' and '.join(sorted(map(str, shapes)))}."
        )
    return images, masks


def _start(
    encode: ApplyFn, variables: Variables, before: Dissection, examples: Any
) -> tuple[Any, Dissection]:
    """How pixels are counted with a batch, and those of the batches before."""
    images, masks = examples
    names = _concepts(encode, variables, examples)
    units = jax.eval_shape(encode, variables, images).shape[-1]
    if (len(before.thresholds), before.concepts) != (units, names):
        raise ValueError(
            f"`resume` is for {len(before.thresholds)} units and the concepts "
            f"{before.concepts}, and this call for {units} and {names}.\n"
            "Go on with the earlier site and concepts."
        )
    each = int(np.prod(masks[names[0]].shape[1:]))

    def step(sums: Any, thresholds: Any, variables: Any, examples: Any, n: Any) -> Any:
        images, masks = examples
        a = encode(variables, images)
        counts = _counts(a, [masks[name] for name in names], thresholds, n)
        rows = a.reshape(len(a), -1)
        invalid = first_invalid(~jnp.isfinite(rows).all(axis=1)[None], n)
        return jax.tree.map(jnp.add, sums, counts), invalid

    jitted = jax.jit(step, out_shardings=everywhere(images))

    def update(state: Dissection, examples: Any, count: Any) -> tuple[Dissection, Any]:
        n_pixels = state.n_pixels + int(count) * each
        if n_pixels > MOST:
            raise OverflowError(
                f"dissect: there are {n_pixels} pixels, and a sum counts to {MOST}.\n"
                "Take fewer images, or smaller masks."
            )
        sums = state.n_both, state.n_active, state.n_shown
        sums, invalid = jitted(sums, state.thresholds, variables, examples, count)
        counted = dict(zip(("n_both", "n_active", "n_shown"), sums, strict=True))
        return dataclasses.replace(state, n_pixels=n_pixels, **counted), invalid

    return update, before


def _counts(
    activation: Any, masks: list[Any], thresholds: Any, count: Any
) -> tuple[Any, Any, Any]:
    """The pixels of both, of each unit and of each concept in a batch."""
    shape = (*masks[0].shape, activation.shape[-1])
    wide = activation.astype(jnp.promote_types(activation.dtype, jnp.float32))
    maps = jax.image.resize(wide, shape, "linear", antialias=False)
    is_active = maps > jnp.asarray(thresholds, maps.dtype)[None, None, None]
    is_real = (jnp.arange(shape[0]) < count)[:, None, None, None]
    active = (is_active & is_real).reshape(-1, shape[-1])
    shown = (jnp.stack(masks, axis=-1) & is_real).reshape(-1, len(masks))
    both = jax.lax.map(lambda c: (active & c[:, None]).sum(0, jnp.uint32), shown.T)
    return both.T, active.sum(0, jnp.uint32), shown.sum(0, jnp.uint32)


def _quotient(numerator: Any, denominator: Any) -> Any:
    """A quotient of counts, NaN where there are none."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator
