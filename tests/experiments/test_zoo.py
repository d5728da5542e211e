"""The zoo: what is cached, when it is not, and that its networks reach their goals."""

import dataclasses
import hashlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import zoo
from experiments.zoo import __main__ as command
from experiments.zoo import cache, generative, sheet, shelf, text
from experiments.zoo.real import RealTask
from experiments.zoo.recipe import Pairs, Supervised, Task, Trained
from experiments.zoo.ship import ship
from experiments.zoo.standardize import Standardize
from experiments.zoo.table import table
from experiments.zoo.training import Goal, Schedule
from jaxinterp.data.sets import digits
from jaxinterp.models.architectures.mlp import MLP
from jaxinterp.models.weights import read_tensors

OURS = ("experiments", "jaxinterp")
VARIABLES = {
    "params": {"a": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}},
    "batch_stats": {"a": {"mean": np.ones(3, np.float32)}},
}


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAXINTERP_CACHE", str(tmp_path))
    return tmp_path / "zoo"


@dataclasses.dataclass(frozen=True)
class WhichIsLarger(Task):
    """Two numbers: is the first one larger?"""

    examples: int = 512

    def draw(self, key: Any, count: int) -> Pairs:
        x = jax.random.normal(key, (count, 2), jnp.float32)
        return Pairs(x, (x[:, 0] > x[:, 1]).astype(jnp.int32))

    def train_set(self, key: Any) -> Pairs:
        return self.draw(key, self.examples)

    def exams(self, key: Any) -> Mapping[str, Pairs]:
        return {"accuracy": self.draw(key, 300)}


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return nn.Dense(2)(nn.BatchNorm(not train, momentum=0.5)(x))


def recipe(**changes: Any) -> Supervised:
    settings: dict[str, Any] = {
        "goals": (Goal("accuracy", least=0.95),),
        "steps": 400,
        "every": 10,
        "learning_rate": 3e-2,
    }
    schedule = Schedule(**settings | changes)
    return Supervised("tiny", MLP(2, widths=(4,)), WhichIsLarger(), schedule)


def test_what_is_saved_is_read_again(empty_cache: Path) -> None:
    path = cache.path_of("net", "abc")
    assert path == empty_cache / "net-abc.npz"
    assert cache.read(path) is None
    cache.save(path, VARIABLES, {"accuracy": 0.5, "steps": 3})
    stored = cache.read(path)
    assert stored is not None
    assert stored.figures == {"accuracy": 0.5, "steps": 3}
    chex.assert_trees_all_equal(stored.variables, VARIABLES)
    assert stored.variables["params"]["a"]["kernel"].dtype == jnp.float32


def test_the_cache_is_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAXINTERP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)  # it may lie elsewhere
    assert cache.folder().name == "zoo"
    assert "jaxinterp" in cache.folder().parts
    assert cache.folder().is_relative_to(Path.home())


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.95])
def test_a_damaged_file_is_not_read(empty_cache: Path, keep: float) -> None:
    path = cache.path_of("net", "abc")
    cache.save(path, VARIABLES, {"accuracy": 0.5})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged"):
        cache.read(path)


def test_a_byte_that_changed_is_noticed(empty_cache: Path) -> None:
    path = cache.path_of("net", "abc")
    cache.save(path, VARIABLES, {"accuracy": 0.5})
    raw = bytearray(path.read_bytes())
    at = raw.index(np.float32(5).tobytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="is damaged"):
        cache.read(path)


def test_a_file_without_figures_is_damaged(empty_cache: Path) -> None:
    path = cache.path_of("net", "abc")
    path.parent.mkdir()
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match="Delete it"):
        cache.read(path)


@pytest.mark.parametrize("culprit", ["savez", "replace"])
def test_a_crash_while_saving_leaves_what_was_there(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, culprit: str
) -> None:
    path = cache.path_of("net", "abc")
    cache.save(path, VARIABLES, {"accuracy": 0.5})
    before = path.read_bytes()

    def crash(file: Any, *_: Any, **__: Any) -> None:
        if culprit == "savez":
            file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np if culprit == "savez" else os, culprit, crash)
    with pytest.raises(KeyboardInterrupt):
        cache.save(path, VARIABLES, {"accuracy": 0.6})
    assert path.read_bytes() == before
    assert list(empty_cache.iterdir()) == [path]


def test_a_process_that_is_killed_while_saving_leaves_nothing_to_read(
    empty_cache: Path,
) -> None:
    program = (
        "import os, numpy as np; from experiments.zoo import cache\n"
        "def die(file, **_): file.write(b'half'), file.flush(), os._exit(9)\n"
        "np.savez = die\n"
        "cache.save(cache.path_of('net', 'abc'), {'a': np.ones(3)}, {})"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == 9
    assert cache.read(cache.path_of("net", "abc")) is None
    assert [p.suffix for p in empty_cache.iterdir()] == [".part"]


@pytest.fixture
def module_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of ours that imports another one, whose file is returned."""
    outer, inner = tmp_path / "outer.py", tmp_path / "inner.py"
    outer.write_text("from experiments.inner import f\n")
    inner.write_text(
        '"""Says."""\n\n\ndef f():\n    """Says."""\n    return 1\n\n\nRECIPES = (1,)\n'
    )
    for file in (outer, inner):
        module = type(sys)(f"experiments.{file.stem}")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return inner


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("return 1", "return 2", True),
        ('    """Says."""\n', "", False),
        ('"""Says."""\n\n\n', '"""Says more."""\n\n', False),
        ("return 1", "return 1  # one", False),
        ("RECIPES = (1,)", "RECIPES = (1, 2)", False),
        ("RECIPES", "RECIPE", True),
        ("def f():", "import json\n\n\ndef f():", True),
    ],
)
def test_a_fingerprint_changes_with_code_that_is_imported_and_with_nothing_said(
    module_file: Path, old: str, new: str, changes: bool
) -> None:
    before = cache.fingerprint({}, "experiments.outer")
    assert cache.fingerprint({}, "experiments.outer") == before
    text_ = module_file.read_text()
    assert old in text_
    module_file.write_text(text_.replace(old, new))
    assert (cache.fingerprint({}, "experiments.outer") != before) == changes


def test_a_fingerprint_covers_recipes_data_and_models() -> None:
    files = {path.name for path in cache.code_of("experiments.zoo.vision")}
    needed = {"vision.py", "recipe.py", "training.py", "cnn.py", "shapes.py"}
    assert needed | {"geometry.py", "resnet.py", "pooling.py"} <= files
    assert not {"text.py", "tables.py", "dcgan.py", "sequences.py"} & files


@pytest.mark.parametrize("name", zoo.names())
def test_a_fingerprint_covers_the_network_itself(name: str) -> None:
    recipe = shelf.RECIPES[name]
    files = cache.code_of(*recipe.origins)
    parts = [recipe, *vars(recipe).values()]
    ours = [type(part) for part in parts if type(part).__module__.startswith(OURS)]
    assert {Path(inspect.getfile(part)) for part in ours} <= set(files)


def test_code_of_a_user_counts_and_installed_code_does_not() -> None:
    files = {path.name for path in cache.code_of(__name__)}
    assert Path(__file__).name in files
    assert not {"pytest", "numpy"} & {
        path.parent.name for path in cache.code_of(__name__)
    }


@pytest.mark.slow(reason="describes a network a dozen times")
def test_a_fingerprint_changes_with_every_setting() -> None:
    tiny = recipe()
    changed = (
        tiny,
        recipe(seed=1),
        recipe(goals=(Goal("accuracy", least=0.96),)),
        dataclasses.replace(tiny, module=MLP(2, widths=(5,))),
        dataclasses.replace(tiny, task=WhichIsLarger(513)),
    )
    configs = [shelf.config_of(one) for one in changed]
    marks = {cache.fingerprint(config, *tiny.origins) for config in configs}
    assert len(marks) == len(changed)


@pytest.mark.parametrize("name", zoo.names())
def test_the_configuration_of_a_network_says_nothing_of_this_process(name: str) -> None:
    said = repr(shelf.config_of(shelf.RECIPES[name]))
    assert " at 0x" not in said


@pytest.mark.slow(reason="trains a network")
def test_a_network_is_trained_once(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shelf.obtain(recipe())
    assert len(list(empty_cache.iterdir())) == 1
    monkeypatch.setattr(Supervised, "train", lambda _: pytest.fail("trained again"))
    second = shelf.obtain(recipe())
    assert second.figures == first.figures
    chex.assert_trees_all_equal(second.variables, first.variables)
    assert second.config == first.config


@pytest.mark.slow(reason="trains a network twice")
def test_retraining_gives_the_same_network(empty_cache: Path) -> None:
    first = shelf.obtain(recipe())
    second = shelf.obtain(recipe(), retrain=True)
    chex.assert_trees_all_equal(second.variables, first.variables)
    assert second.figures["accuracy"] == first.figures["accuracy"]
    assert len(list(empty_cache.iterdir())) == 1


@pytest.mark.slow(reason="trains a network twice")
def test_training_does_not_depend_on_the_precision_of_the_session() -> None:
    trained = recipe().train().variables
    with jax.enable_x64(False):
        again = recipe().train().variables
    chex.assert_trees_all_equal(trained, again)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(trained))


@pytest.mark.slow(reason="trains a network")
def test_training_stops_when_the_goal_is_reached(empty_cache: Path) -> None:
    network = shelf.obtain(recipe())
    assert network.figures["accuracy"] >= 0.95
    assert 0 < network.figures["steps"] < 400
    assert network.figures["seconds"] > 0
    data = network.held_out(400)
    outputs = network.apply_fn(network.variables, data.inputs)
    assert float((outputs.argmax(axis=1) == data.labels).mean()) > 0.9


def test_what_is_held_out_was_not_trained_on() -> None:
    tiny = recipe()
    train_key, exam_key, _ = tiny._keys()
    seen = np.concatenate(
        [
            tiny.task.train_set(train_key).inputs,
            tiny.task.exams(exam_key)["accuracy"].inputs,
        ]
    )
    held_out = np.asarray(tiny.held_out(200).inputs)
    assert not np.isin(held_out, seen).any()
    np.testing.assert_array_equal(tiny.held_out(200).inputs, held_out)


def test_running_statistics_move() -> None:
    tiny = dataclasses.replace(recipe(every=5), module=Normed())
    variables = tiny.train().variables
    spread = variables["batch_stats"]["BatchNorm_0"]["var"]
    assert float(jnp.abs(spread - 1).max()) > 1e-3


@pytest.mark.parametrize(
    "first", [nn.Dense(4, name="first"), nn.Conv(4, (2, 2), 2, "VALID", name="first")]
)
def test_the_first_layer_takes_over_what_was_done_to_inputs(first: nn.Module) -> None:
    inputs = jax.random.uniform(jax.random.key(0), (3, 4, 4, 2), jnp.float32)
    params = first.init(jax.random.key(1), inputs)["params"]
    params = {"first": {**params, "bias": jnp.arange(4.0, dtype=jnp.float32)}}
    variables = {"params": {**params, "other": 1}, "batch_stats": 2}
    standardize = Standardize("first", mean=0.3, deviation=0.2)
    expected = first.apply({"params": params["first"]}, (inputs - 0.3) / 0.2)
    taken = standardize.taken_over(variables)
    found = first.apply({"params": taken["params"]["first"]}, inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (taken["params"]["other"], taken["batch_stats"]) == (1, 2)
    assert all(leaf.dtype == np.float32 for leaf in taken["params"]["first"].values())


def test_a_network_trained_on_standardized_inputs_reads_inputs_themselves() -> None:
    tiny = recipe()
    standardize = Standardize("layers_0", mean=0.5, deviation=2.0)
    trained = dataclasses.replace(tiny, standardize=standardize).train()
    exam = tiny.task.exams(tiny._keys()[1])["accuracy"]
    outputs = np.asarray(tiny.module.apply(trained.variables, exam.inputs))
    score = tiny.task.score(outputs, np.asarray(exam.labels))
    assert score == trained.figures["accuracy"] >= 0.95


def test_a_goal_that_is_not_reached_is_an_error_and_nothing_is_cached(
    empty_cache: Path,
) -> None:
    goals = (Goal("accuracy", least=0.1), Goal("accuracy", least=1.1))
    with pytest.raises(RuntimeError, match=r"tiny was to reach accuracy >= 1\.1, and"):
        shelf.obtain(recipe(goals=goals, steps=20))
    assert not empty_cache.exists()


def test_a_loss_that_explodes_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="tiny: the loss is nan at step 10"):
        recipe(learning_rate=float("nan"), steps=20).train()


def test_a_goal_has_two_sides() -> None:
    goal = Goal("x", least=0.2, most=0.4)
    assert str(goal) == "x >= 0.2 and <= 0.4"
    reached = [goal.is_reached({"x": x}) for x in (0.1, 0.2, 0.4, 0.5, float("nan"))]
    assert reached == [False, True, True, False, False]


def test_an_unknown_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(ValueError, match=r"'shape_cnn'\. There are: shapes_cnn, "):
        zoo.load("shape_cnn")


def test_the_command_lists_the_names_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["shapes_cnn", "shape_cnn"])
    said = capsys.readouterr().err
    assert "no network shape_cnn" in said
    assert "evidence_lstm" in said


def test_the_command_trains_and_prints_a_table(
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shelf, "RECIPES", {"tiny": recipe()})
    command.main(["--output", str(empty_cache / "new")])
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"\| network +\| figures +\| +steps \|", lines[0])
    assert re.match(r"\| `tiny` +\| accuracy 0\.9\d\d \| +\d+ \|", lines[2])
    assert " 22 |    0 |" in lines[2]  # 2 * 4 + 4 + 4 * 2 + 2 parameters, seed 0
    assert str(empty_cache) in lines[-1]
    written = (empty_cache / "new" / "table.md").read_text().splitlines()
    assert written == lines[:3]


def trained(name: str) -> Trained:
    figures = {"accuracy": 0.5, "steps": 7, "seconds": 1.2, "cpu_seconds": 2.7}
    config = {"schedule": Schedule(goals=(), seed=3)}
    variables = {"params": {"b": {"kernel": np.ones((2, 3), np.float32)}}}
    return Trained(name, len, variables, MLP(1), config, figures, lambda _: None)


def test_shipping_twice_writes_the_same_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        ship([trained("x"), trained("y")], tmp_path / folder)
    one, two = (
        {p.name: p.read_bytes() for p in d.iterdir()} for d in tmp_path.iterdir()
    )
    assert one == two
    assert set(one) == {"x.safetensors", "y.safetensors", "SHA256SUMS", "README.md"}
    tensors = read_tensors(tmp_path / "one" / "x.safetensors")
    np.testing.assert_array_equal(tensors.pop("params/b/kernel"), np.ones((2, 3)))
    assert not tensors
    sha256 = hashlib.sha256(one["y.safetensors"]).hexdigest()
    assert one["SHA256SUMS"].decode().splitlines()[1] == f"{sha256}  y.safetensors"
    assert "| `x` | `MLP` | accuracy 0.500 | 7 | 6 | 0 |" in one["README.md"].decode()


def test_all_networks_are_shipped_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["shapes_cnn", "--ship"])
    assert "--ship writes all of shapes_cnn, watermark_cnn" in capsys.readouterr().err


def test_the_table_leaves_costs_out_of_the_figures() -> None:
    figures = {"R2": 0.5, "steps": 7, "seconds": 1.2, "cpu_seconds": 2.7}
    config = {"schedule": Schedule(goals=(), seed=3)}
    network = Trained("x", len, VARIABLES, MLP(1), config, figures, lambda _: None)
    cells = [cell.strip() for cell in table([network]).splitlines()[2].split("|")]
    assert cells[1:-1] == ["`x`", "R2 0.500", "7", "1", "3", "6", "3"]


def test_real_sets_hold_out_what_was_split_off() -> None:
    task = RealTask(digits)
    seen = task.train_set(jax.random.key(1))
    held_out = task.draw(jax.random.key(2), 359)
    assert len(seen.labels) + len(held_out.labels) == 1797
    with pytest.raises(ValueError, match="359 examples were held out, and 360 are"):
        task.draw(jax.random.key(2), 360)


def test_sums_are_split_without_overlap() -> None:
    task = text.AddNumbers()
    seen = task.train_set(jax.random.key(1))
    count = text.MODULUS**2 - len(seen.labels)
    held_out = task.draw(jax.random.key(2), count)
    pairs = np.concatenate([seen.inputs, held_out.inputs])[:, :2]
    assert len(np.unique(pairs, axis=0)) == text.MODULUS**2
    np.testing.assert_array_equal(held_out.labels, held_out.inputs[:, :2].sum(1) % 37)


def test_copying_counts_only_what_can_be_predicted() -> None:
    task = text.Copy()
    labels = np.array([[-1, 2, -1]])
    right = np.eye(3)[None, [0, 2, 1]]
    assert task.score(right, labels) == 1.0
    assert task.score(right[:, ::-1][:, [0, 0, 2]], labels) == 0.0
    loss = task.loss(jnp.asarray(right), jnp.asarray(labels))
    assert float(loss) == pytest.approx(np.log(2 + np.e) - 1)


def test_the_nearest_image_is_found() -> None:
    others = np.array([[0.0, 0.0], [3.0, 4.0]])
    distances, rows = generative._nearest(np.array([[3.0, 5.0], [0.0, -2.0]]), others)
    np.testing.assert_allclose(distances, [1, 2])
    assert rows.tolist() == [1, 0]


def test_samples_are_laid_out_in_rows() -> None:
    images = np.arange(6.0).reshape(6, 1, 1, 1) / 10
    gap = [1.0, 1.0]
    expected = [[0, *gap, 0.1, *gap, 0.2], *2 * [7 * [1]], [0.3, *gap, 0.4, *gap, 0.5]]
    np.testing.assert_allclose(sheet.tiled(images, 3), expected)


@pytest.mark.slow(reason="trains two networks against each other")
def test_the_two_networks_of_a_game_both_move(empty_cache: Path) -> None:
    dcgan = shelf.RECIPES["dcgan"]
    assert isinstance(dcgan, generative.Adversarial)
    short = dataclasses.replace(dcgan.schedule, steps=2, every=1, goals=())
    small = dataclasses.replace(
        dcgan,
        module=dataclasses.replace(dcgan.module, width=2),
        discriminator=dataclasses.replace(dcgan.discriminator, width=2),
        schedule=short,
    )
    network = shelf.obtain(small)
    assert set(network.figures) >= {"distance", "rarest class", "steps"}
    samples = network.apply_fn(network.variables, network.held_out(3))
    assert samples.shape == (3, 16, 16, 1)
    sheet.draw(network, empty_cache / "new" / "dcgan.png")
    assert (empty_cache / "new" / "dcgan.png").stat().st_size > 5_000
    never = dataclasses.replace(short, goals=(Goal("distance", most=0.0),))
    with pytest.raises(RuntimeError, match="dcgan was to reach distance <= 0, and"):
        shelf.obtain(dataclasses.replace(small, schedule=never))


@pytest.mark.slow(reason="trains a network on each table")
@pytest.mark.parametrize(
    "name", [name for name in zoo.names() if name.startswith("tabular_")]
)
def test_functions_are_learned(empty_cache: Path, name: str) -> None:
    network = zoo.load(name)
    data = network.held_out(100)
    outputs = network.apply_fn(network.variables, data.inputs)
    if "R2" in network.figures:
        assert np.square(outputs - data.labels).mean() < 0.02 * data.labels.var()
    else:
        assert float((outputs.argmax(axis=1) == data.labels).mean()) > 0.9


@pytest.mark.slow(reason="trains a network until it solves its task")
def test_the_evidence_is_found(empty_cache: Path) -> None:
    network = zoo.load("evidence_lstm")
    data = network.held_out(500)
    outputs = network.apply_fn(network.variables, data.tokens)
    assert float((outputs.argmax(axis=1) == data.labels).mean()) > 0.97
