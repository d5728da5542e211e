"""The gallery, of a small network instead of a trained one."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.feature_gallery import __main__ as command
from experiments.feature_gallery import subject
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
