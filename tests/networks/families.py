"""Every family of networks, small: the module, a batch of two, the shape it returns."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxinterp import models
from tests.networks.random_variables import random_variables

VOCABULARY = 11
TOKENS = jnp.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]], jnp.int32)
SIGNALS = jax.random.normal(jax.random.key(0), (2, 5, 3), jnp.float32)
LATENTS = jax.random.normal(jax.random.key(0), (2, 5), jnp.float32)
SMALL = {"vocabulary": VOCABULARY, "width": 8, "depth": 2, "heads": 2}
INCEPTIONS = (("3a", (2, 2, 3, 2, 2, 2)), ("4a", (2, 2, 4, 2, 2, 2)))
FIRES = (("fire2", 4, 3), ("fire4", 4, 4), ("fire6", 4, 4))


class Family(NamedTuple):
    """A network and what goes in and comes out."""

    model: Any
    inputs: jax.Array
    outputs: tuple[int, ...]


def images(*shape):
    return jax.random.normal(jax.random.key(1), (2, *shape), jnp.float32)


CONVOLUTIONAL = {
    "alexnet": Family(models.AlexNet(5, (4, 4, 6, 4, 4), 8), images(70, 70, 3), (2, 5)),
    "vgg": Family(
        models.VGG(11, False, 5, (4, 4, 6, 6, 6), 8), images(40, 33, 3), (2, 5)
    ),
    "vgg_bn": Family(
        models.VGG(11, True, 5, (4, 4, 6, 6, 6), 8), images(32, 32, 3), (2, 5)
    ),
    "resnet18": Family(models.ResNet(18, 5, 4, (1, 2)), images(35, 33, 3), (2, 5)),
    "resnet50": Family(models.ResNet(50, 5, 4, (1, 2)), images(33, 32, 3), (2, 5)),
    "resnet8": Family(models.ResNet8(5, (4, 6, 8)), images(32, 32, 3), (2, 5)),
    "cnn": Family(
        models.CNN(5, 4, stages=((), (4, 6), (6,))), images(33, 20, 3), (2, 5)
    ),
    "lenet": Family(models.LeNet(5, (3, 4, 6, 8)), images(32, 32, 1), (2, 5)),
    "squeezenet": Family(models.SqueezeNet(5, 4, FIRES), images(33, 40, 3), (2, 5)),
    "googlenet": Family(
        models.GoogLeNet(5, "caffe", (4, 4, 6), INCEPTIONS), images(40, 35, 3), (2, 5)
    ),
    "googlenet_bn": Family(
        models.GoogLeNet(5, "torchvision", (4, 4, 6), INCEPTIONS[:1]),
        images(32, 37, 3),
        (2, 5),
    ),
    "convnext": Family(models.ConvNeXt(5, (1, 2), (4, 6)), images(35, 32, 3), (2, 5)),
}
TRANSFORMERS = {
    "gpt2": Family(
        models.Transformer(**SMALL, max_length=8), TOKENS, (2, 6, VOCABULARY)
    ),
    "induction": Family(
        models.Transformer(**SMALL, max_length=8, attention_only=True, is_tied=False),
        TOKENS,
        (2, 6, VOCABULARY),
    ),
    "modular addition": Family(
        models.Transformer(
            **{**SMALL, "depth": 1},
            max_length=8,
            activation="relu",
            use_norm=False,
            use_bias=False,
            is_tied=False,
            reads="last",
        ),
        TOKENS,
        (2, VOCABULARY),
    ),
    "classifier": Family(
        models.Transformer(
            **SMALL, max_length=8, is_tied=False, classes=3, reads="mean"
        ),
        TOKENS,
        (2, 3),
    ),
    "llama": Family(
        models.Llama(**{**SMALL, "heads": 4}, key_heads=2, mlp_width=12),
        TOKENS,
        (2, 6, VOCABULARY),
    ),
    "bert": Family(models.Bert(classes=3, **SMALL, max_length=8), TOKENS, (2, 3)),
    "vit": Family(
        models.ViT(image_size=8, patch_size=4, width=8, depth=2, heads=2, classes=3),
        images(8, 8, 3),
        (2, 3),
    ),
}
RECURRENT = {
    "lstm": Family(models.LSTMClassifier(classes=3, width=4), SIGNALS, (2, 3)),
    "gru": Family(models.GRUClassifier(classes=3, width=4), SIGNALS, (2, 3)),
    "lstm of tokens": Family(
        models.LSTMClassifier(3, width=4, vocabulary=VOCABULARY, reads="mean"),
        TOKENS,
        (2, 3),
    ),
    "gru of tokens": Family(
        models.GRUClassifier(3, width=4, vocabulary=VOCABULARY), TOKENS, (2, 3)
    ),
}
DENSE = {
    "mlp": Family(models.MLP(outputs=3, widths=(8, 8)), images(16, 16, 3), (2, 3)),
    "mlp_generator": Family(
        models.MLPGenerator((4, 4, 1), (8,)), LATENTS, (2, 4, 4, 1)
    ),
    "vae": Family(
        models.VAE(image_shape=(16, 16, 3), latent=5, widths=(8, 6)),
        images(16, 16, 3),
        (2, 16, 16, 3),
    ),
}
ADVERSARIAL = {
    "generator": Family(
        models.DCGANGenerator(size=16, channels=3, width=4), LATENTS, (2, 16, 16, 3)
    ),
    "discriminator": Family(
        models.DCGANDiscriminator(width=4), images(16, 16, 3), (2, 1)
    ),
}
FAMILIES = {**CONVOLUTIONAL, **TRANSFORMERS, **RECURRENT, **DENSE, **ADVERSARIAL}


@functools.cache
def built(name, dtype=np.float32):
    """Returns the module of a family, random weights and its batch."""
    model, inputs, _ = FAMILIES[name]
    return model, random_variables(model, inputs, dtype=dtype), inputs


def apply_fn(name):
    """Returns the apply function of a family; of a VAE, the logits of pixels."""
    model = FAMILIES[name].model
    if name != "vae":
        return model.apply
    return lambda variables, inputs: model.apply(variables, inputs).logits


def token_site(name):
    """Returns the address of the embedding where inputs are integers."""
    model, inputs, _ = FAMILIES[name]
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        return None
    return f"{type(model).__name__}/token_embedding"
