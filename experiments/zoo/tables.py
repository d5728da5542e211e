"""Dense networks that learn functions of a few features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.zoo.real import RealTask
from experiments.zoo.recipe import Pairs, Supervised, Task
from experiments.zoo.training import Goal, Schedule
from jaxinterp.data.products import Gate, SobolG
from jaxinterp.data.sets import breast_cancer
from jaxinterp.data.tabular import Additive, Ishigami
from jaxinterp.models.architectures.mlp import MLP

Function = Additive | Ishigami | SobolG | Gate


@dataclasses.dataclass(frozen=True)
class Regression(Task):
    r"""Learn a function from its values.

    The figure is the share of the variance that is explained,

    $$R^2 = 1 - \frac{\sum (y - f(x))^2}{\sum (y - \bar y)^2}$$

    The network has one output, the column 0: it is explained with `target` 0.

    Attributes:
        function: what is learned; its `shapley`, `sobol` and `partial_dependence` are
            what an explanation should say.
        examples: number of inputs that are trained on.
        examined: number of inputs that the figure is measured with.
    """

    function: Function
    examples: int = 32_768
    examined: int = 4096

    def draw(self, key: Any, count: int) -> Pairs:
        """Returns inputs, and values of shape `(count, 1)`."""
        inputs = self.function.sample(key, count).astype(jnp.float32)
        return Pairs(inputs, self.function(inputs)[:, None])

    def train_set(self, key: Any) -> Pairs:
        """Returns inputs and values."""
        return self.draw(key, self.examples)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        """Returns other inputs and values."""
        return {"R2": self.draw(key, self.examined)}

    def loss(self, outputs: Any, labels: Any) -> Any:
        """Returns the mean squared error."""
        return jnp.square(outputs - labels).mean()

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Returns the share of the variance that is explained."""
        return float(1 - np.square(labels - outputs).mean() / labels.var())


def _regressor(
    name: str,
    function: Function,
    *,
    widths: tuple[int, ...] = (64, 64),
    activation: str = "silu",
) -> Supervised:
    return Supervised(
        f"tabular_{name}",
        MLP(outputs=1, widths=widths, activation=activation),
        Regression(function),
        Schedule(
            goals=(Goal("R2", least=0.995),),
            steps=4000,
            batch_size=256,
            learning_rate=1e-2,
            weight_decay=0.0,
            every=200,
        ),
    )


RECIPES = (
    _regressor("additive", Additive()),
    _regressor("ishigami", Ishigami()),
    # The function has kinks, and so have networks with relu.
    _regressor("sobol_g", SobolG(), widths=(128, 128), activation="relu"),
    _regressor("and", Gate("and", connected=3, irrelevant=2)),
    _regressor("or", Gate("or", connected=3, irrelevant=2)),
    _regressor("xor", Gate("xor", connected=3, irrelevant=2)),
    Supervised(
        "tabular_breast_cancer",
        MLP(outputs=2, widths=(32, 32)),
        RealTask(breast_cancer),
        Schedule(
            goals=(Goal("accuracy", least=0.96),),
            steps=400,
            learning_rate=1e-3,
            weight_decay=1e-2,
            every=20,
        ),
    ),
)
