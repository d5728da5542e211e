"""The networks that come with the package: whole, known to the zoo, and able."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from experiments.zoo import shelf
from jaxinterp.models import Examples
from jaxinterp.models.weights import WeightsError
from jaxinterp.models.weights import pretrained as file
from jaxinterp.models.weights.pretrained import FOLDER, NETWORKS, pretrained
from tests.compiled import compiled
from tests.few import few

README = (FOLDER / "README.md").read_text("utf-8")
# How many examples were held out of sets that are too small to be drawn.
HELD_OUT = {"digits_cnn": 359, "modular_addition": 548, "tabular_breast_cancer": 114}
KEY = jax.random.key(7)

every_network = pytest.mark.parametrize("name", NETWORKS)
every_small_set = pytest.mark.parametrize("name", HELD_OUT)


def row_of(name):
    """The cells of the README's table about a network."""
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`")]
    return [cell.strip(" `") for cell in line.split("|")[1:-1]]


def inputs_of(examples):
    """The field of the examples that a network reads."""
    names = {"images", "tokens", "inputs"}
    (inputs,) = [value for f, value in examples._asdict().items() if f in names]
    return inputs


def rows_of(examples):
    """The inputs as tuples, which can be sorted and compared."""
    inputs = np.asarray(examples.inputs)
    return [tuple(row) for row in inputs.reshape(len(inputs), -1).tolist()]


# --- Files ----------------------------------------------------------------------------


@every_network
def test_the_weights_are_those_of_the_module_in_float32(name):
    apply_fn, variables, draw = pretrained(name)
    inputs = inputs_of(draw(KEY, 2))
    expected = jax.eval_shape(NETWORKS[name].module.init, KEY, inputs)
    chex.assert_trees_all_equal_shapes(variables, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert jax.eval_shape(apply_fn, variables, inputs).shape[0] == 2


@every_network
def test_the_module_is_that_of_the_recipe(name):
    assert NETWORKS[name].module == shelf.RECIPES[name].module


@every_network
def test_the_readme_describes_the_files(name):
    _, module, _, _, parameters, kilobytes = row_of(name)
    assert module == type(NETWORKS[name].module).__name__
    leaves = jax.tree.leaves(pretrained(name).variables["params"])
    assert parameters == f"{sum(leaf.size for leaf in leaves):,}"
    size = (FOLDER / f"{name}.safetensors").stat().st_size
    assert kilobytes == f"{size / 1000:.0f}"
    assert size < 400_000


def test_the_files_are_these_and_small_together():
    files = {f"{name}.safetensors" for name in NETWORKS} | {"README.md", "SHA256SUMS"}
    assert {path.name for path in FOLDER.iterdir()} == files
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


def test_a_damaged_file_is_an_error_that_names_it(tmp_path, monkeypatch):
    name = "tabular_breast_cancer.safetensors"
    content = bytearray((FOLDER / name).read_bytes())
    content[-1] ^= 1  # the last bit of a weight: nothing else would notice
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(file, "FOLDER", tmp_path)
    message = rf"{name} is another file than .*SHA-256.*Install jaxinterp again\."
    with pytest.raises(WeightsError, match=re.compile(message, re.DOTALL)):
        pretrained("tabular_breast_cancer")


def test_an_unknown_name_gets_the_nearest_and_all_names():
    message = r"'shape_cnn'\. Is it 'shapes_cnn'.*induction, .*`ji\.models\.load`"
    with pytest.raises(ValueError, match=message):
        pretrained("shape_cnn")


# --- Tasks ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in HELD_OUT])
def test_examples_are_those_of_the_recipe(name):
    task = shelf.RECIPES[name].task
    chex.assert_trees_all_equal(
        jax.tree.leaves(pretrained(name).draw(KEY, 3)),
        jax.tree.leaves(task.draw(KEY, 3)),
    )


@every_small_set
def test_examples_of_small_sets_were_held_out(name):
    count = HELD_OUT[name]
    examples = pretrained(name).draw(KEY, count)
    assert isinstance(examples, Examples)
    task = shelf.RECIPES[name].task
    drawn, trained = rows_of(examples), rows_of(task.train_set(KEY))
    assert sorted(drawn) == sorted(rows_of(task.draw(KEY, count)))
    assert not set(drawn) & set(trained)


@every_small_set
def test_a_key_shuffles_a_small_set(name):
    draw = pretrained(name).draw
    few_of_it, more = draw(KEY, 8), draw(KEY, 16)
    np.testing.assert_array_equal(few_of_it.inputs, more.inputs[:8])
    np.testing.assert_array_equal(few_of_it.labels, more.labels[:8])
    other = draw(jax.random.key(8), 16)
    assert (np.asarray(other.inputs) != np.asarray(more.inputs)).any()


@every_small_set
def test_no_more_are_drawn_than_were_held_out(name):
    draw = pretrained(name).draw
    message = f"draw: {HELD_OUT[name]} examples were held out, and `count` is 600"
    with pytest.raises(ValueError, match=message):
        draw(KEY, 600)
    with pytest.raises(ValueError, match="draw: `count`"):
        draw(KEY, 0)
    with pytest.raises(TypeError, match="draw"):
        draw(3, 2)


# --- What they can --------------------------------------------------------------------

COUNT = 400


@pytest.mark.parametrize(
    "name",
    few(
        NETWORKS,
        {"tabular_ishigami", "tabular_breast_cancer", "modular_addition"},
        reason="draws and answers hundreds of examples; the zoo measured it before",
    ),
)
def test_a_network_reaches_its_figure(name):
    apply_fn, variables, draw = pretrained(name)
    count = HELD_OUT.get(name, COUNT)
    examples = draw(KEY, count)
    outputs = np.asarray(compiled(apply_fn)(variables, inputs_of(examples)))
    labels = np.asarray(examples.labels)
    if name == "induction":
        labels = np.where(examples.mask, labels, -1)
    score = shelf.RECIPES[name].task.score(outputs, labels)
    figures = dict(re.findall(r"([a-zA-Z2 ]+?) (\d\.\d+)(?:, |$)", row_of(name)[2]))
    which = "random patch" if name == "watermark_cnn" else next(iter(figures))
    figure = float(figures[which])
    # Four standard deviations of a share of so many examples; none if all were drawn.
    is_all = name in HELD_OUT
    deviation = 0.0 if is_all else math.sqrt(figure * (1 - figure) / count)
    assert abs(score - figure) <= 4 * deviation + 1e-3


@pytest.mark.parametrize(
    "name",
    few(
        NETWORKS,
        {"tabular_ishigami", "tabular_breast_cancer", "modular_addition"},
        reason="compiles a gradient through many layers",
    ),
)
def test_a_network_is_explained_by_one_call(name):
    apply_fn, variables, draw = pretrained(name)
    inputs = inputs_of(draw(KEY, 2))
    is_tokens = jnp.issubdtype(inputs.dtype, jnp.integer)
    attribute = ji.attribution.gradient(
        apply_fn,
        score=ji.objectives.total,
        at="token_embedding" if is_tokens else None,
    )
    received = compiled(attribute)(variables, inputs)
    assert received.shape[: inputs.ndim] == inputs.shape
    assert np.isfinite(received).all()
    assert (np.abs(received).reshape(2, -1).max(axis=1) > 0).all()


def test_a_network_is_summarized():
    graph = ji.models.summary(
        pretrained("digits_cnn"), jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    )
    assert "CNN/stage2_0_relu" in graph.sites
