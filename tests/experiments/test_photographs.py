"""Photographs are cropped and not squashed; what is missing is said plainly."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

import jaxinterp as ji
from experiments.ground_truth import photographs
from experiments.ground_truth.methods import methods
from jaxinterp.models import Loaded, Preprocess

# Left third black, middle white, right black: a square out of the middle is white.
STRIP = np.zeros((8, 24, 3), np.uint8)
STRIP[:, 8:16] = 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpeg", "c.JPG", "d/e.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(STRIP).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_every_kind_of_picture_is_found(folder: Path) -> None:
    names = ("a.png", "b.jpeg", "c.JPG", "d/e.webp")
    assert photographs.choose(folder, 9).names == names
    assert photographs.choose(folder, 4).names == names
    assert photographs.choose(folder, 2).names == (names[0], names[2])
    assert photographs.choose(folder, 3).names == names[:3]


@pytest.mark.parametrize("size", [(8, 8), (4, 4), None])
def test_pictures_are_cropped_and_not_squashed(
    folder: Path, size: tuple[int, int] | None
) -> None:
    chosen = photographs.choose(folder, 1)
    images = photographs.read(chosen, Preprocess(size))
    side = size[0] if size else photographs.SIDE
    assert images.shape == (1, side, side, 3)
    # Resizing blurs the border of the square; squashed, a third would be white.
    assert images.mean() > 0.9


def test_the_command_writes_a_gallery(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = jnp.ones((3, 2)) * jnp.array([[1.0, -1.0]])

    def apply_fn(variables, inputs):
        return inputs.mean((1, 2)) @ variables

    preprocess = Preprocess((6, 4), mean=(0.5,))
    model = Loaded(apply_fn, weights, preprocess, None)
    monkeypatch.setattr(ji.models, "load", lambda *_, **__: model)
    gradient = ji.attribution.gradient(apply_fn)
    monkeypatch.setattr(photographs, "methods", lambda *_: {"gradient": gradient})
    output = folder / "gallery.png"
    options = ["--weights", "w.npz", "--images", str(folder), "--output", str(output)]
    photographs.main([*options, "--count", "3"])
    assert "gallery.png written" in capsys.readouterr().out
    with Image.open(output) as drawn:
        assert drawn.width > 100


def test_methods_take_the_bounds_of_each_channel() -> None:
    bounds = Preprocess((16, 16), mean=(0.1, 0.2, 0.3), std=(0.5,)).bounds
    occlusion = methods(lambda v, x: x.sum((1, 2)) @ v, *bounds)["occlusion"]
    inputs = jnp.zeros((1, 16, 16, 3))
    found = occlusion(jnp.eye(3), inputs, jnp.array([1]))
    # A window gets gray; the three channels share what that changes in the second.
    gray = (0.5 - 0.2) / 0.5
    np.testing.assert_allclose(found, np.full(found.shape, -gray / 3), rtol=1e-5)


def test_more_methods_know_gray_and_where_branches_are_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def more(apply_fn, subject):
        asked.append(subject)
        return {"none": lambda variables, x, target, key: jnp.zeros_like(x)}

    def apply_fn(variables, x):
        joined = jnp.concatenate([nn.relu(x * variables), nn.relu(-x)], axis=-1)
        return joined.mean((1, 2))

    monkeypatch.setattr(photographs, "methods", lambda *_: {})
    monkeypatch.setattr(photographs, "more_methods", more)
    preprocess = Preprocess((16, 16), mean=(0.1, 0.2, 0.3), std=(0.5,))
    model = Loaded(apply_fn, jnp.float32(2.0), preprocess, None)
    inputs = jnp.ones((1, 16, 16, 3))
    _, found = photographs.explain(model, inputs, preprocess.bounds, more=True)
    (subject,) = asked
    assert list(found) == ["none"]
    np.testing.assert_allclose(subject.gray, [0.8, 0.6, 0.4], rtol=1e-6)
    assert subject.segments.max() == 63
    shapes = {
        site.address: site.shape
        for site in ji.trace(apply_fn, model.variables, inputs).sites.values()
    }
    assert shapes[subject.layer] == (1, 16, 16, 6)


def always(preprocess: Preprocess | None) -> Callable[..., Loaded]:
    """Loads a network that does nothing, whatever it is asked for."""
    return lambda *_, **__: Loaded(lambda variables, x: x, {}, preprocess, None)


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_pictures_at_all_cannot_be_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    options = ["--weights", "w.npz", "--images", str(folder), "--count", count]
    with pytest.raises(SystemExit, match="2"):
        photographs.main(options)
    assert f"--count must be at least 1, and is {count}." in capsys.readouterr().err


def test_a_folder_without_pictures_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    for name, said in (("empty", "holds no image"), ("nowhere", "is not a folder")):
        with pytest.raises(SystemExit, match="2"):
            photographs.main(["--weights", "w.npz", "--images", str(folder / name)])
        assert f"{name} {said}" in capsys.readouterr().err


def test_a_damaged_picture_and_a_model_of_texts_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.png").write_bytes(b"no picture")
    options = ["--weights", "w.npz", "--images", str(folder)]
    for preprocess, said in (
        (Preprocess((8, 8)), "a.png cannot be read"),
        (None, "googlenet_caffe does not take images"),
    ):
        monkeypatch.setattr(ji.models, "load", always(preprocess))
        with pytest.raises(SystemExit, match="2"):
            photographs.main(options)
        assert said in capsys.readouterr().err
