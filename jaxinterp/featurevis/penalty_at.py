"""A penalty of an activation, in place of the picture."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from jaxinterp.featurevis.objective import Objective, Shapes, View, Where


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class PenaltyAt(Objective):
    """An objective of pictures, of an activation instead.

    Attributes:
        site: whose activation takes the place of the pictures.
        penalty: the objective.
    """

    site: Where = dataclasses.field(metadata={"static": True})
    penalty: Any

    @property
    def sites(self) -> tuple[Where, ...]:
        """The site, and what the objective reads itself."""
        return tuple(dict.fromkeys((self.site, *self.penalty.sites)))

    @property
    def compares(self) -> bool:
        """Whether the objective does."""
        return self.penalty.compares

    def bound(self, shapes: Shapes) -> Objective:
        """Returns it with the objective bound."""
        bound = self.penalty.bound(self._shapes(shapes))
        return dataclasses.replace(self, penalty=bound)

    def memory(self, shapes: Shapes, count: int) -> Any:
        """Returns what the objective remembers at first."""
        return self.penalty.memory(self._shapes(shapes), count)

    def remember(self, view: View) -> Any:
        """Returns what the objective remembers."""
        return self.penalty.remember(self._view(view))

    def __call__(self, view: View) -> Any:
        """Returns the objective of the activation."""
        return self.penalty(self._view(view))

    def _shapes(self, shapes: Shapes) -> Shapes:
        return shapes._replace(image=tuple(shapes.activations[self.site]))

    def _view(self, view: View) -> View:
        return view._replace(images=view.activations[self.site])


def penalty_at(site: Where, penalty: Objective) -> Objective:
    """Applies a penalty of pictures to what a layer makes of them.

    The activation takes the place of the picture in its formula, with positions for
    pixels; unlike the picture it is that under the transforms, and has any range.

    Args:
        site: whose activation is read.
        penalty: `l1`, `l2`, `l_inf`, `total_variation` or another objective of
            pictures, or a combination of them.

    Returns:
        An objective, in the units of the penalty.

    Raises:
        TypeError: if the penalty is no objective.

    Example:
        >>> from jaxinterp.featurevis import channel, l1, total_variation
        >>> sparse = channel("Conv_1", 3) - 0.1 * penalty_at("Conv_0", l1(0.0))
        >>> smooth = channel("Conv_1", 3) - penalty_at("Conv_0", total_variation())

    References:
        lucid, `lucid/optvis/objectives.py`: `L1`, `L2` and `total_variation` of a
        `layer`.
    """
    if not isinstance(penalty, Objective):
        raise TypeError(
            "penalty_at() takes a site and an objective of pictures, "
            f"`penalty_at('Conv_0', total_variation())`; {penalty!r} was given."
        )
    return PenaltyAt(site, penalty)
