"""The network that is explained: two convolutions and two dense layers, in linen."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from experiments.quickstart.config import Config
from experiments.quickstart.digits import Digits


class CNN(nn.Module):
    """A small convolutional network; nothing in it knows that it will be explained."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the logits of a batch of images."""
        for features in (16, 32):
            x = nn.Conv(features, (3, 3))(x)
            x = nn.relu(x)
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


def train(config: Config, digits: Digits) -> Any:
    """Returns the variables of a trained `CNN`.

    The inputs of each step are moved by up to the width of the border and get noise.
    Both make the network better and its gradients calmer.

    Args:
        config: the settings.
        digits: to learn from.
    """
    model = CNN()
    per_epoch = len(digits.labels) // config.batch_size
    total = config.epochs * per_epoch
    optimizer = optax.adamw(
        optax.cosine_decay_schedule(config.learning_rate, total),
        weight_decay=config.weight_decay,
    )
    key = jax.random.key(config.seed)
    variables = jax.jit(model.init)(key, digits.images[:1])
    state = optimizer.init(variables)

    @jax.jit
    def step(variables: Any, state: Any, images: Any, labels: Any, key: Any) -> Any:
        noisy = _disturbed(images, key, config)

        def loss_of(variables: Any) -> Any:
            logits = model.apply(variables, noisy)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean()

        loss, gradients = jax.value_and_grad(loss_of)(variables)
        updates, state = optimizer.update(gradients, state, variables)
        return optax.apply_updates(variables, updates), state, loss

    order = np.random.default_rng(config.seed)
    bar = tqdm(range(config.epochs), desc="training", unit="epoch")
    for epoch in bar:
        shuffled = order.permutation(len(digits.labels))[
            : per_epoch * config.batch_size
        ]
        for i, batch in enumerate(shuffled.reshape(per_epoch, -1)):
            images, labels = digits.images[batch], digits.labels[batch]
            at = jax.random.fold_in(key, epoch * per_epoch + i)
            variables, state, loss = step(variables, state, images, labels, at)
        bar.set_postfix(loss=f"{float(loss):.3f}")
    return variables


def _disturbed(images: Any, key: Any, config: Config) -> Any:
    by, noise = jax.random.split(key)
    move = jax.random.randint(by, (2,), -config.border, config.border + 1)
    moved = jnp.roll(images, move, axis=(1, 2))
    return moved + config.noise * jax.random.normal(noise, images.shape, images.dtype)


def accuracy(variables: Any, digits: Digits) -> float:
    """Returns the share of digits whose largest logit is that of their class.

    Args:
        variables: those of a trained `CNN`.
        digits: to test with.
    """
    logits = jax.jit(CNN().apply)(variables, digits.images)
    return float((np.asarray(logits).argmax(axis=1) == digits.labels).mean())
