"""Objectives of some of the images of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import checked_integers
from jaxinterp.objectives.by_name import as_objective
from jaxinterp.objectives.objective import Objective, Shapes, View
from jaxinterp.pytree import pytree, static
from jaxinterp.types import Sites


@pytree
class ForImages(Objective):
    """An objective of some images of the group, as if these were the group.

    The fields are the arguments of `for_images`.
    """

    objective: Any
    images: tuple[int, ...] = static()

    @property
    def sites(self) -> tuple[Sites, ...]:
        """The places that the objective reads."""
        return self.objective.sites

    @property
    def compares(self) -> bool:
        """The score depends on the number of the image."""
        return True

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the objective bound."""
        return ForImages(self.objective.bound(shapes), self.images)

    def __call__(self, view: View) -> Any:
        """Returns the objective's scores of the images, and 0 for the others."""
        view_of_images, indices = self._view_of_images(view)
        scores = jnp.asarray(self.objective(view_of_images))
        return jnp.zeros(len(view.images), scores.dtype).at[indices].set(scores)

    def _view_of_images(self, view: View) -> tuple[View, Any]:
        """What the objective sees, and the numbers of its images from 0."""
        count, numbers = view.images.shape[0], self.images
        if max(numbers) >= count or min(numbers) < -count:
            raise ValueError(
                f"for_images: the images {list(numbers)} are meant, and there "
                f"are {count} of each unit.\nWrite `count="
                f"{max(max(numbers) + 1, -min(numbers))}`."
            )
        indices = np.asarray(numbers) % count
        if len(set(indices.tolist())) < len(indices):
            raise ValueError(
                f"for_images: of {count} images, {list(numbers)} names one twice."
            )
        of_all = view._replace(step=None)
        view_of_images = jax.tree.map(lambda a: a[indices], of_all)
        return view_of_images._replace(step=view.step), indices


def for_images(
    objective: Objective | str, images: int | Sequence[int] | jax.Array | np.ndarray
) -> Objective:
    r"""Gives an objective to some of the images of a unit; the others score 0.

    So the images of one group can look for different things and still be compared
    with one another. As they are one unit, the noise that all start from depends on
    all their channels. A quotient or a logarithm of a score that is 0 is not a number.

    Args:
        objective: the objective of these images. What compares images compares these
            alone.
        images: their numbers in the group, `0` to `count - 1`, one or several in a
            list or an array; negative ones count from the end.

    Returns:
        An objective in the units of the given one.

    Raises:
        TypeError: if the objective is none, or a number is no integer.
        ValueError: if no image is named, or one twice; if a string means no
            objective.

    Example:
        >>> from jaxinterp.featurevis import alignment
        >>> several = for_images("Conv_0:3", 0) + for_images("Conv_0:5", [1, 2])
        >>> alike = several + 0.1 * alignment("Conv_0")
    """
    example = "for_images('Conv_0:3', [0, 2])"
    numbers = checked_integers("for_images", "image", images, example)
    return ForImages(as_objective(objective), numbers)
