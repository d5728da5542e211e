"""A generator of digits, trained against a discriminator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from experiments.zoo.training import Fitted, Goal, Schedule, Watch, unreached
from jaxinterp.data.sets import RealSet, digits
from jaxinterp.models.architectures.dcgan import DCGANDiscriminator, DCGANGenerator

LATENT = 32
SIZE = 16
# The variables that are kept follow those of the training by so much a step; they are
# calmer, and their samples better.
FOLLOWED = 0.005
# The share of the gradient's mean that Adam remembers, as in the paper.
MOMENTUM = 0.5
SAMPLES = 1000


class Player(NamedTuple):
    """The generator or the discriminator, in training.

    Attributes:
        variables: its parameters and running statistics.
        state: that of its optimizer.
    """

    variables: Any
    state: Any


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """A generator, trained by deceiving a discriminator.

    Two figures say whether samples look right. `distance` is the median distance of a
    sample from the digit of the training set next to it, in units of the same for real
    digits that were held out: near 1, samples are as like digits as digits are. `rarest
    class` is how often the digit that is drawn least comes up, each sample being taken
    for what the digit next to it is; 0.1 would be even, and near 0 means that one is
    forgotten.

    Attributes:
        name: of the network.
        module: the generator, the network that is kept.
        discriminator: what it is trained against.
        schedule: how long and how fast.

    References:
        Radford et al., 2016, section 3 and section 4 [radford2016unsupervised].
    """

    name: str
    module: nn.Module
    discriminator: nn.Module
    schedule: Schedule

    @property
    def origins(self) -> tuple[str, ...]:
        """The modules of recipe and networks."""
        parts = (self, self.module, self.discriminator)
        return tuple(type(part).__module__ for part in parts)

    def held_out(self, count: int) -> jax.Array:
        """Draws latents that training did not see.

        Args:
            count: how many.
        """
        key = jax.random.split(jax.random.key(self.schedule.seed), 3)[2]
        return jax.random.normal(key, (count, LATENT), jnp.float32)

    def train(self) -> Fitted:
        """Trains both networks in turn.

        Raises:
            RuntimeError: if a goal is not reached.
        """
        # The same network must result where float64 is on, as it is in the tests.
        with jax.enable_x64(False):
            return self._train()

    def _train(self) -> Fitted:
        schedule, watch = self.schedule, Watch()
        keys = jax.random.split(jax.random.key(schedule.seed), 3)
        data = digits(keys[0])
        real = enlarged(data.train_inputs)
        optimizer = optax.adam(schedule.learning_rate, b1=MOMENTUM)
        latent = jnp.zeros((2, LATENT), jnp.float32)
        generator = _player(self.module, keys[1], latent, optimizer)
        critic = _player(self.discriminator, keys[1], real[:2], optimizer)
        kept = generator.variables
        figures: dict[str, float] = {}
        step, measure = self._step(optimizer), self._measure(data)
        numbers = range(1, schedule.steps + 1)
        with tqdm(numbers, desc=self.name, unit="step", mininterval=1.0) as bar:
            for number in bar:
                key = jax.random.fold_in(keys[0], number)
                generator, critic, kept = step(generator, critic, kept, real, key)
                if number % schedule.every and number != schedule.steps:
                    continue
                figures = measure(kept)
                bar.set_postfix(figures)
        # Figures of a game go up and down, so it is played to its end.
        if not all(goal.is_reached(figures) for goal in schedule.goals):
            raise unreached(self.name, figures, schedule.goals, schedule.steps)
        return Fitted(kept, figures | watch.figures(schedule.steps))

    def _step(self, optimizer: optax.GradientTransformation) -> Callable[..., Any]:
        generate, judge = _in_training(self.module), _in_training(self.discriminator)

        @jax.jit
        def step(
            generator: Player, critic: Player, kept: Any, real: Any, key: Any
        ) -> tuple[Player, Player, Any]:
            rows_key, latent_key = jax.random.split(key)
            size = self.schedule.batch_size
            rows = jax.random.choice(rows_key, len(real), (size,))
            latents = jax.random.normal(latent_key, (size, LATENT), jnp.float32)

            def of_critic(variables: Any) -> tuple[Any, Any]:
                fake, _ = generate(generator.variables, latents)
                of_fake, variables = judge(variables, fake)
                of_real, variables = judge(variables, real[rows])
                loss = jax.nn.softplus(of_fake) + jax.nn.softplus(-of_real)
                return loss.mean(), variables

            def of_generator(variables: Any) -> tuple[Any, Any]:
                fake, variables = generate(variables, latents)
                of_fake, _ = judge(critic.variables, fake)
                return jax.nn.softplus(-of_fake).mean(), variables

            critic = _moved(critic, of_critic, optimizer)
            generator = _moved(generator, of_generator, optimizer)
            kept = optax.incremental_update(generator.variables, kept, FOLLOWED)
            return generator, critic, kept

        return step

    def _measure(self, data: RealSet) -> Callable[[Any], dict[str, float]]:
        real = np.asarray(enlarged(data.train_inputs))
        usual, _ = _nearest(np.asarray(enlarged(data.test_inputs)), real)
        key = jax.random.split(jax.random.key(self.schedule.seed), 3)[1]
        latents = jax.random.normal(key, (SAMPLES, LATENT), jnp.float32)
        apply_fn = jax.jit(self.module.apply)

        def measure(variables: Any) -> dict[str, float]:
            samples = np.asarray(apply_fn(variables, latents))
            distance, rows = _nearest(samples, real)
            counts = np.bincount(data.train_labels[rows], minlength=10)
            return {
                "distance": float(np.median(distance) / np.median(usual)),
                "rarest class": float(counts.min() / SAMPLES),
            }

        return measure


def enlarged(images: Any) -> jax.Array:
    """Returns digits of 8 x 8 pixels in [0, 1] as larger ones in [-1, 1].

    Args:
        images: of shape `(count, 8, 8, 1)`.
    """
    images = jnp.asarray(images, jnp.float32)
    shape = (len(images), SIZE, SIZE, 1)
    return 2 * jax.image.resize(images, shape, "bilinear") - 1


def _player(
    module: nn.Module, key: Any, inputs: Any, optimizer: optax.GradientTransformation
) -> Player:
    variables = jax.jit(module.init)(key, inputs)
    return Player(variables, optimizer.init(variables["params"]))


def _in_training(module: nn.Module) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Returns a function to outputs, and variables with running statistics moved on."""

    def run(variables: Any, inputs: Any) -> tuple[Any, Any]:
        outputs, moved = module.apply(
            variables, inputs, train=True, mutable=["batch_stats"]
        )
        return outputs, {**variables, **moved}

    return run


def _moved(
    player: Player,
    loss: Callable[[Any], tuple[Any, Any]],
    optimizer: optax.GradientTransformation,
) -> Player:
    """Returns a player after one step down its loss."""
    params = player.variables["params"]
    slope, variables = jax.grad(
        lambda params: loss({**player.variables, "params": params}), has_aux=True
    )(params)
    updates, state = optimizer.update(slope, player.state, params)
    return Player({**variables, "params": optax.apply_updates(params, updates)}, state)


def _nearest(images: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distance to the nearest of the others, and which one it is."""
    a, b = images.reshape(len(images), -1), others.reshape(len(others), -1)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    rows = squares.argmin(axis=1)
    return np.sqrt(np.maximum(squares.min(axis=1), 0)), rows


RECIPES = (
    Adversarial(
        "dcgan",
        DCGANGenerator(size=SIZE, channels=1, width=32),
        DCGANDiscriminator(width=32),
        Schedule(
            goals=(Goal("distance", most=1.5), Goal("rarest class", least=0.03)),
            steps=3000,
            learning_rate=4e-4,
            every=500,
        ),
    ),
)
