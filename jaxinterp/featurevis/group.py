r"""Objectives of a group: how the pictures of one unit relate to one another.

Notation: $a_i$ is the activation of picture $i$ of the $n$ pictures that are made for
one unit. A picture's score depends on the others, but only on those of its own unit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.featurevis import places
from jaxinterp.featurevis.compare import gram
from jaxinterp.featurevis.integers import checked_integer, checked_numbers
from jaxinterp.featurevis.names import as_objective
from jaxinterp.featurevis.objective import (
    Objective,
    Shapes,
    View,
    Where,
    each_memory,
    each_remembers,
    each_view,
)

_TINY = 1e-10  # below it a squared norm counts as zero


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Diversity(Objective):
    """How little the textures of the pictures have in common.

    Attributes:
        site: whose activation is read.
    """

    site: Where = dataclasses.field(metadata={"static": True})

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    @property
    def compares(self) -> bool:
        """Textures of several pictures."""
        return True

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it as it is, if the site has channels."""
        places.check_channels(shapes.activations[self.site], repr(self.site))
        return self

    def __call__(self, view: View) -> Any:
        """Returns what each picture has in common with the others, negated."""
        _check_several("diversity", view)
        g = gram(view.activations[self.site])
        squares = jnp.sum(jnp.square(g), axis=(1, 2), keepdims=True)
        g = g * jax.lax.rsqrt(jnp.maximum(squares, _TINY))
        others = jnp.sum(g, axis=0, keepdims=True) - g  # so that no pair is visited
        return -jnp.sum(g * others, axis=(1, 2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Alignment(Objective):
    """How alike neighboring pictures are, place by place.

    Attributes:
        site: whose activation is read.
        decay: by how much a step further away counts less.
        reach: how many steps away a neighbor may be.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    decay: float = dataclasses.field(metadata={"static": True})
    reach: int = dataclasses.field(metadata={"static": True})

    @property
    def sites(self) -> tuple[Where, ...]:
        """The one place that it reads."""
        return (self.site,)

    @property
    def compares(self) -> bool:
        """Neighboring pictures."""
        return True

    def __call__(self, view: View) -> Any:
        """Returns the distance of each picture to its neighbors, negated."""
        _check_several("alignment", view)
        a = places.at_position(view.activations[self.site], None)
        count = a.shape[0]
        scores = jnp.zeros(count, a.dtype)
        for step in range(1, min(self.reach, count - 1) + 1):
            distance = places.mean_of_places(jnp.square(a[step:] - a[:-step]), kept=0)
            share = distance / (2 * self.decay**step)  # half for each of the two
            scores = scores.at[step:].add(-share).at[:-step].add(-share)
        return scores


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Interpolation(Objective):
    """One objective for the first picture, another for the last.

    Attributes:
        start: objective of the first.
        end: objective of the last.
    """

    start: Any
    end: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The places that either reads."""
        return tuple(dict.fromkeys((*self.start.sites, *self.end.sites)))

    @property
    def compares(self) -> bool:
        """The weights are those of a place in a row."""
        return True

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with both bound."""
        return Interpolation(self.start.bound(shapes), self.end.bound(shapes))

    def memory(self, shapes: Shapes, count: int) -> Any:
        """Returns what both remember at first."""
        return each_memory((self.start, self.end), shapes, count)

    def remember(self, view: View) -> Any:
        """Returns what both remember."""
        return each_remembers((self.start, self.end), view)

    def __call__(self, view: View) -> Any:
        """Returns the weighted mean of both for each picture."""
        first, last = each_view(view, 2)
        start, end = self.start(first), self.end(last)
        count = view.images.shape[0]
        weight = jnp.arange(count) / max(count - 1, 1)
        weight = weight.astype(jnp.result_type(start, end))
        return (1 - weight) * start + weight * end


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class ForPictures(Objective):
    """An objective of some pictures of the group, as if these were the group.

    Attributes:
        objective: of these.
        pictures: their numbers in the group.
    """

    objective: Any
    pictures: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def sites(self) -> tuple[Where, ...]:
        """The places that the objective reads."""
        return self.objective.sites

    @property
    def compares(self) -> bool:
        """The score depends on the number of the picture."""
        return True

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the objective bound."""
        return ForPictures(self.objective.bound(shapes), self.pictures)

    def memory(self, shapes: Shapes, count: int) -> Any:
        """Returns what the objective remembers of these pictures at first."""
        return self.objective.memory(shapes, len(self.pictures))

    def remember(self, view: View) -> Any:
        """Returns what the objective remembers of these pictures."""
        return self.objective.remember(self._seen(view)[0])

    def __call__(self, view: View) -> Any:
        """Returns the objective's scores of the pictures, and 0 for the others."""
        seen, chosen = self._seen(view)
        scores = jnp.asarray(self.objective(seen))
        return jnp.zeros(len(view.images), scores.dtype).at[chosen].set(scores)

    def _seen(self, view: View) -> tuple[View, Any]:
        """What the objective sees, and the numbers of its pictures from 0."""
        count, asked = view.images.shape[0], self.pictures
        if max(asked) >= count or min(asked) < -count:
            raise ValueError(
                f"for_pictures: the pictures {list(asked)} are asked for, and there "
                f"are {count} of each unit.\nWrite `count="
                f"{max(max(asked) + 1, -min(asked))}`."
            )
        chosen = np.asarray(asked) % count
        if len(set(chosen.tolist())) < len(chosen):
            raise ValueError(
                f"for_pictures: of {count} pictures, {list(asked)} names one twice."
            )
        of_all = view._replace(step=None, memory=None)
        seen = jax.tree.map(lambda a: a[chosen], of_all)
        return seen._replace(step=view.step, memory=view.memory), chosen


def for_pictures(
    objective: Objective | str, pictures: int | Sequence[int] | jax.Array | np.ndarray
) -> Objective:
    r"""Gives an objective to some of the pictures of a unit; the others score 0.

    So the pictures of one group can look for different things and still be compared
    with one another. As they are one unit, the noise that all start from depends on
    all their channels. A quotient or a logarithm of a score that is 0 is not a number.

    Args:
        objective: of these pictures. What compares pictures compares these alone.
        pictures: their numbers in the group, `0` to `count - 1`, one or several in a
            list or an array; negative ones count from the end.

    Returns:
        An objective in the units of the given one.

    Raises:
        TypeError: if the objective is none, or a number is no integer.
        ValueError: if no picture is named, or one twice; if a string means no
            objective.

    Example:
        >>> several = for_pictures("Conv_0:3", 0) + for_pictures("Conv_0:5", [1, 2])
        >>> alike = several + 0.1 * alignment("Conv_0")
    """
    example = "for_pictures('Conv_0:3', [0, 2])"
    numbers = checked_numbers("for_pictures", "picture", pictures, example)
    return ForPictures(as_objective(objective), numbers)


def diversity(site: Where) -> Objective:
    r"""Looks for pictures of one unit that differ from one another in texture.

    $$-\sum_{j \ne i} \langle \hat G_i, \hat G_j \rangle, \qquad
      \hat G_i = G_i / \|G_i\|, \quad G_i = \tfrac{1}{|X|} \sum_x a_{ix} a_{ix}^\top$$

    Add it to another objective, `channel("mixed4a", 97) + 100 * diversity("mixed4a")`.
    The sum over $j$ is taken inside: time and memory grow with $n$, not with $n^2$. The
    mean of the scores over pictures is the negated term of Olah et al., so that their
    weights serve.

    Args:
        site: whose activation is read, often that of the unit.

    Returns:
        An objective, without unit, between $-(n - 1)$, all alike, and 0 where
        activations are not negative. For `count=1` picture it is an error.

    Example:
        >>> from jaxinterp.featurevis import channel
        >>> varied = channel("Conv_0", 3) + 100 * diversity("Conv_0")

    References:
        Olah et al., 2017, "Diversity" [olah2017feature].
    """
    return Diversity(site)


def alignment(site: Where, *, decay: float = 2.0, reach: int = 4) -> Objective:
    r"""Looks for pictures that change little from one to the next.

    $$-\frac{1}{2} \sum_{d=1}^{\mathrm{reach}} \frac{\overline{(a_i - a_{i-d})^2} +
      \overline{(a_i - a_{i+d})^2}}{\mathrm{decay}^d}$$

    where a neighbor that does not exist counts for nothing, and a bar is the mean over
    entries. It keeps things in place along a row of pictures made by `interpolate`.

    Args:
        site: whose activation is read.
        decay: by how much a neighbor one step further away counts less.
        reach: how many steps away a neighbor may be.

    Returns:
        An objective, at most 0, in the units of the activation, squared. For `count=1`
        picture it is an error.

    Raises:
        ValueError: if `decay` is not positive, or `reach` no positive integer.

    Example:
        >>> objective = alignment("Conv_0", reach=2)

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
    """
    reach = checked_integer("reach", reach, 1, call="alignment")
    if not decay > 0:
        raise ValueError(f"alignment: `decay` must be positive, and is {decay!r}.")
    return Alignment(site, decay=float(decay), reach=reach)


def interpolate(start: Objective | str, end: Objective | str) -> Objective:
    r"""Looks for one thing in the first picture, another in the last, and blends.

    $$\left(1 - \tfrac{i}{n - 1}\right) s_i + \tfrac{i}{n - 1}\, e_i$$

    A single picture is a first one.

    Args:
        start: objective $s$ of the first picture.
        end: objective $e$ of the last.

    Returns:
        An objective, in the units of the two.

    Raises:
        TypeError: if one is no objective.
        ValueError: if a string means none.

    Example:
        >>> blend = interpolate("Conv_0:3", "Conv_1:5") + alignment("Conv_0")
        >>> blend.sites
        ('Conv_0', 'Conv_1')

    References:
        Olah et al., 2017, "Interaction between Neurons" [olah2017feature].
    """
    return Interpolation(as_objective(start), as_objective(end))


def _check_several(name: str, view: View) -> None:
    if view.images.shape[0] == 1:
        raise ValueError(
            f"{name}() compares the pictures of one unit, and there is one.\nWrite "
            "`maximize(..., count=4)`, or leave that part of the objective out."
        )
