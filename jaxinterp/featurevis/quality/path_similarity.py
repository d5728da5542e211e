r"""Is an optimized image processed like a natural one, or on a path of its own?

An image can drive a unit through other units than photographs do; then it says little
about how the network sees photographs.

Notation: $a_\ell(x)$ is the activation of site $\ell$ for image $x$, all its entries
in a row, and $\rho_\ell(x, y)$ the rank correlation of $a_\ell(x)$ and $a_\ell(y)$,
that of Spearman: the correlation of the ranks of the entries, where equal ones share
their mean rank.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import rankdata

from jaxinterp.checks import is_traced
from jaxinterp.featurevis.images import by_unit, check_float_images
from jaxinterp.loop.chunks import chunk_size, over_units
from jaxinterp.loop.sums import summed
from jaxinterp.objectives.reader import Reader, site_reader
from jaxinterp.pytree import pytree, static
from jaxinterp.table import cell, format_table, html_table
from jaxinterp.tracing.selectors import Selector
from jaxinterp.types import ApplyFn, Images, Variables

_HEAD = ("site", "made", "natural", "arbitrary", "relative")


@pytree
class PathSimilarity:
    """Rank correlations of activations, of each site and unit, between -1 and 1.

    NaN where one of the activations is the same everywhere, as of a dead layer: it has
    no ranks. It prints as one row per site, the mean over the units.

    Attributes:
        sites: addresses, in network order.
        made: the correlations of the made images with the natural ones of the unit,
            `(sites, units)`.
        natural: the correlations of the natural images of the unit with each other.
        arbitrary: the correlations of the natural images of the unit with arbitrary
            natural ones; `None` if there were none.
    """

    sites: tuple[str, ...] = static()
    made: Any
    natural: Any
    arbitrary: Any

    @property
    def relative(self) -> Any:
        """Where `made` lies from `arbitrary`, 0, to `natural`, 1; `None` without these.

        NaN where natural images of the unit are no more alike than arbitrary ones.
        """
        if self.arbitrary is None:
            return None
        return _relative(self.made, self.natural, self.arbitrary)

    @property
    def overall(self) -> PathSimilarity:
        """The mean over sites; `relative` is then a ratio of means, not a mean.

        For each unit it is over the sites where it has all numbers, so a dead site does
        not count.
        """
        parts = (self.made, self.natural, self.arbitrary)
        present = [part for part in parts if part is not None]
        counts = ~functools.reduce(jnp.logical_or, map(jnp.isnan, present))
        made, natural, arbitrary = (
            None if part is None else part.mean(axis=0, keepdims=True, where=counts)
            for part in parts
        )
        return PathSimilarity((f"{len(self.sites)} sites",), made, natural, arbitrary)

    def _cells(self) -> list[tuple[str, ...]]:
        parts = (self.made, self.natural, self.arbitrary)
        means = [None if part is None else part.mean(axis=1) for part in parts]
        relative = None if self.arbitrary is None else _relative(*means)
        columns = (*means, relative)
        return [
            (site, *(cell(None if c is None else c[i]) for c in columns))
            for i, site in enumerate(self.sites)
        ]

    def __str__(self) -> str:
        return format_table(_HEAD, self._cells(), right=(1, 2, 3, 4))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(_HEAD, self._cells())


def path_similarity(
    apply_fn: ApplyFn,
    sites: Selector | str,
    variables: Variables,
    images: Images,
    natural: Images,
    *,
    arbitrary: Images | None = None,
    count: int = 1,
    batch_size: int | None = None,
) -> PathSimilarity:
    r"""Compares activations of made images, site by site, with those of natural ones.

    For the images $x \in X_u$ that were made for unit $u$, natural images $N_u$
    that drive it, and arbitrary natural images $A$

    $$\mathrm{made} = \operatorname{mean}_{x \in X_u,\, y \in N_u} \rho_\ell(x, y)$$

    $$\mathrm{natural} = \operatorname{mean}_{y \ne y' \in N_u} \rho_\ell(y, y'),
      \quad
      \mathrm{arbitrary} = \operatorname{mean}_{y \in N_u,\, z \in A} \rho_\ell(y, z)$$

    $$\mathrm{relative} = \frac{\mathrm{made} - \mathrm{arbitrary}}
      {\mathrm{natural} - \mathrm{arbitrary}}$$

    A relative similarity of 1 says that at this site a made image is as like natural
    images of the unit as these are like one another; 0, that it is no more like them
    than any photograph is. The paper does this for classes, with $N_u$ photographs of
    the class and $A$ those of other classes; its finding is that last-layer images
    are close to 0 on the first two thirds of the way.

    The examples of a unit in an early layer may be hardly more alike than any; look at
    the three columns before you trust the relative one.

    A mean over pairs is a product of means of standardized ranks, so that no pair is
    visited: time grows with the images and the entries of all sites, for sorting
    these; memory with `batch_size` times those.

    Args:
        apply_fn: the model; of arrays that it holds itself, see `maximize`.
        sites: a glob on addresses or a selector: `"inception_*"`.
        variables: the weights of the model.
        images: the made images, `(units * count, ...)`, in the order of the units.
        natural: the natural images of each unit, `(units, k, ...)`, such as
            `crops(batches, examples.top)` gives, in the same size and range.
        arbitrary: natural images `(m, ...)` of which nothing is known, without those
            in `natural`: an image is more like itself than like any other.
        count: the number of made images of each unit.
        batch_size: the largest number of images, made and natural ones, that are
            computed at once; by default all, and 16 MB of the arbitrary ones. Those of
            one unit are not divided.

    Returns:
        A printable `PathSimilarity`.

    Raises:
        AddressError: if no site matches.
        TypeError: if images are not floats.
        ValueError: if shapes or the number of images do not fit, a unit has less than
            two natural ones, or one of these is also arbitrary (not checked under
            `jit`).

    Example:
        >>> model = lambda w, x: jnp.tanh(x @ w)
        >>> images = jax.random.uniform(jax.random.key(0), (2, 1, 3, 4))
        >>> w = jax.random.normal(jax.random.key(1), (4, 5))
        >>> made, natural = images[:, 0], jnp.repeat(images, 2, axis=1)
        >>> paths = path_similarity(model, "*", w, made, natural)
        >>> paths.made.round(3).tolist()  # the same images
        [[1.0, 1.0], [1.0, 1.0]]

    References:
        Geirhos et al., 2024, section 3 and fig. 5 [geirhos2024dont].
    """
    groups = by_unit(images, count)
    _check_natural(groups, natural, arbitrary)
    natural = jnp.asarray(natural)
    arbitrary = None if arbitrary is None else jnp.asarray(arbitrary)
    model = site_reader(apply_fn, variables, images, sites)
    n_units, per_unit = groups.shape[0], count + natural.shape[1]
    baseline = None
    if arbitrary is not None:
        baseline = _mean_ranks(model, variables, arbitrary, batch_size)
    similarities = over_units(
        lambda index: _similarities(
            model, variables, groups[index], natural[index], baseline
        ),
        n_units,
        chunk_size(batch_size, per_unit, n_units),
        is_inner=is_traced(variables, images, natural, arbitrary),
    )
    parts = [None if part is None else part.T for part in similarities]
    return PathSimilarity(tuple(address for _, address, *_ in model.places), *parts)


def _relative(made: Any, natural: Any, arbitrary: Any) -> Any:
    room = natural - arbitrary
    return jnp.where(
        room > 0, (made - arbitrary) / jnp.where(room > 0, room, 1), jnp.nan
    )


def _mean_ranks(
    model: Reader, variables: Variables, images: Images, batch_size: int | None
) -> Any:
    """The mean over images of their standardized ranks, of each site."""

    def one(variables: Any, image: Any) -> Any:
        activations, _ = model(variables, image[None])
        return [_standardized_ranks(a)[0] for a in activations.values()]

    add_up = summed(one, batch_size=batch_size, name="arbitrary images")
    return [total / images.shape[0] for total in add_up(variables, images)]


@functools.partial(jax.jit, static_argnums=0)
def _similarities(
    model: Reader, variables: Variables, images: Images, natural: Images, baseline: Any
) -> tuple[Any, Any, Any]:
    """The three similarities of some units, each `(units, sites)`."""
    n_units, count = images.shape[:2]
    k = natural.shape[1]
    all_images = jnp.concatenate([images, natural.astype(images.dtype)], axis=1)
    flat = all_images.reshape(n_units * (count + k), *all_images.shape[2:])
    activations, _ = model(variables, flat)
    made, same, other = [], [], []
    for site, activation in enumerate(activations.values()):
        ranks = _standardized_ranks(activation).reshape(n_units, count + k, -1)
        mine, own = ranks[:, :count].mean(axis=1), ranks[:, count:].sum(axis=1)
        made.append((mine * own).sum(axis=-1) / k)
        same.append(((own * own).sum(axis=-1) - k) / (k * (k - 1)))
        if baseline is not None:
            other.append((own * baseline[site][None]).sum(axis=-1) / k)
    made, same = jnp.stack(made, axis=1), jnp.stack(same, axis=1)
    return made, same, jnp.stack(other, axis=1) if other else None


def _standardized_ranks(activation: Any) -> Any:
    """Ranks of the entries of each image, with mean 0 and length 1.

    A product of two such rows is Spearman's correlation; NaN where all are equal.
    """
    x = activation.reshape(activation.shape[0], -1)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    ranks = jax.vmap(rankdata)(x.astype(dtype)).astype(dtype)
    ranks = ranks - (x.shape[1] + 1) / 2
    return ranks / jnp.sqrt(jnp.sum(ranks * ranks, axis=1, keepdims=True))


def _check_natural(groups: Any, natural: Any, arbitrary: Any) -> None:
    check_float_images(natural, "`natural`")
    n_units, shape = groups.shape[0], groups.shape[2:]
    if (
        natural.shape[:1] + natural.shape[2:] != (n_units, *shape)
        or natural.shape[1] < 2
    ):
        raise ValueError(
            f"`natural` has at least two natural images (units, k, ...) for each of "
            f"{n_units} units, of the shape {shape} of the made ones; its shape is "
            f"{natural.shape}.\nWrite `crops(batches, examples.top)`; or, for the same "
            "ones for all units, `jnp.broadcast_to(natural, (units, *natural.shape))`."
        )
    if arbitrary is None:
        return
    check_float_images(arbitrary, "`arbitrary`")
    if arbitrary.shape[1:] != shape or not arbitrary.shape[0]:
        raise ValueError(
            f"`arbitrary` has natural images of the shape {shape} of the made ones; "
            f"its shape is {arbitrary.shape}."
        )
    if is_traced(natural, arbitrary):
        return
    contents = {x.tobytes() for unit in np.asarray(natural) for x in unit}
    twice = [i for i, x in enumerate(np.asarray(arbitrary)) if x.tobytes() in contents]
    if twice:
        raise ValueError(
            f"Image {twice[0]} of `arbitrary` (and {len(twice) - 1} others) is among "
            "`natural`, and is entirely like itself.\nLeave these out: "
            "`np.delete(images, np.unique(examples.top.indices), axis=0)`."
        )
