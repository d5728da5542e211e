"""Objectives of some of the images of a unit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integers
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.objective import Objective, Shapes, View, Where


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
        of_all = view._replace(step=None)
        seen = jax.tree.map(lambda a: a[chosen], of_all)
        return seen._replace(step=view.step), chosen


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
        >>> from jaxinterp.featurevis import alignment
        >>> several = for_pictures("Conv_0:3", 0) + for_pictures("Conv_0:5", [1, 2])
        >>> alike = several + 0.1 * alignment("Conv_0")
    """
    example = "for_pictures('Conv_0:3', [0, 2])"
    numbers = checked_integers("for_pictures", "picture", pictures, example)
    return ForPictures(as_objective(objective), numbers)
