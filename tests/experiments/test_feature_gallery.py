"""The gallery, of a small network instead of a trained one."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.feature_gallery import __main__ as command
from experiments.feature_gallery import prior, subject
from experiments.feature_gallery.config import Config
from experiments.feature_gallery.look import look, spread

CONFIG = Config(size=24, steps=60, natural=7, together=4, shown=3, examples=4)


def model(w, x):
    """Channels see red, green and blue; the last sees nothing."""
    seen = jnp.einsum("bhwc,ck->bhwk", x, w.astype(x.dtype))
    return jax.nn.relu(seen).mean((1, 2))


@pytest.fixture
def small(monkeypatch):
    """Puts a network of four channels in the place of the trained one."""

    def held_out(count):
        images = np.random.default_rng(0).random((count, 24, 24, 3))
        return SimpleNamespace(images=images)

    variables = jnp.eye(3, 4, dtype=jnp.float32)
    network = SimpleNamespace(apply_fn=model, variables=variables, held_out=held_out)
    monkeypatch.setattr(subject.shelf, "load", lambda name: network)
    monkeypatch.setattr(command, "EMBEDDED", CONFIG)
    return network


@pytest.mark.slow(reason="makes and judges the images of a layer, as the next test")
def test_it_writes_a_table_and_pictures(small, tmp_path, capsys):
    command.main(["--output", str(tmp_path)])
    *_, row = (tmp_path / "shapes_cnn.md").read_text().splitlines()
    name, units, live, beaten, ratio, moved, *_ = row.strip("| ").split(" | ")
    assert (name, units, live, beaten) == ("relu", "4", "3", "100.0 %")
    assert float(ratio) > 1
    assert float(moved) > 1
    assert row in capsys.readouterr().out
    for file in ("shapes_cnn_relu.jpg", "shapes_cnn_relu_examples.jpg"):
        picture = plt.imread(tmp_path / file)
        assert picture.std() > 5
    page = (tmp_path / "shapes_cnn_relu_examples.html").read_text()
    assert page.count('class="unit"') == 3
    assert page.count('class="example"') == 3 * 4


@pytest.mark.slow(reason="makes and judges the images of a layer")
def test_a_layer_has_its_examples_and_how_good_its_pictures_are(small):
    seen = subject.embedded(CONFIG)
    layer = look(seen, "relu", CONFIG, np.array([2, 3]))
    assert layer.is_alive.tolist() == [True, False]
    assert layer.images.shape == (2, 24, 24, 3)
    images = np.asarray(small.held_out(CONFIG.natural).images, np.float32)
    assert layer.images[0, ..., 2].mean() > images[..., 2].mean((1, 2)).max()
    # What one place sees is that place: the bluest of all.
    assert layer.examples.shape == (2, 4, 1, 1, 3)
    best = images[..., 2].max(axis=(1, 2))
    order = np.argsort(-images[..., 2].mean((1, 2)))[:4]
    np.testing.assert_array_equal(layer.examples[0, :, 0, 0, 2], best[order])


def test_a_layer_that_is_not_there_ends_the_command(small, capsys):
    with pytest.raises(SystemExit):
        command.main(["--layers", "third"])
    assert "there are relu" in capsys.readouterr().err


def test_units_are_spread():
    assert spread(np.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert spread(np.arange(3), 4).tolist() == [0, 1, 2]
    assert spread(np.arange(3), None).tolist() == [0, 1, 2]


def test_pictures_are_halved():
    images = np.arange(16.0).reshape(1, 4, 4, 1)
    halved = prior.halved(images)[0, :, :, 0]
    np.testing.assert_array_equal(halved, [[2.5, 4.5], [10.5, 12.5]])


@pytest.mark.slow(reason="draws ten digits with and without a prior, 200 steps each")
def test_a_prior_of_digits_draws_digits(monkeypatch, tmp_path, capsys):
    """With networks that know a digit by the training example that it is."""
    data = prior.digits(jax.random.key(0))
    first = np.stack([data.train_inputs[data.train_labels == k][0] for k in range(10)])
    templates = jnp.asarray(first.reshape(10, 64) - first.mean(), jnp.float32)

    def classify(w, x):
        return (x.reshape(len(x), -1) @ w.T.astype(x.dtype)) * 3

    def paint(w, latents):
        shares = jax.nn.softmax(4 * latents[:, :10]) @ w.astype(latents.dtype)
        small = shares.reshape(-1, 8, 8, 1)
        return 2 * jnp.repeat(jnp.repeat(small, 2, axis=1), 2, axis=2) - 1

    networks = {
        "digits_cnn": SimpleNamespace(apply_fn=classify, variables=templates),
        "dcgan": SimpleNamespace(
            apply_fn=paint, variables=jnp.asarray(first.reshape(10, 64), jnp.float32)
        ),
    }
    monkeypatch.setattr(prior.shelf, "load", networks.get)
    prior.main(["--steps", "200", "--output", str(tmp_path)])
    fourier, generator = capsys.readouterr().out.splitlines()[2:4]
    assert generator.split("|")[3].strip() == "100 %"
    assert float(generator.split("|")[4]) < 0.5 < float(fourier.split("|")[4])
    assert (tmp_path / "prior.png").stat().st_size > 1000
