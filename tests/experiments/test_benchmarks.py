"""The benchmarks' commands and tables, on networks that take no time."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from experiments.benchmarks import (
    attribution,
    compared,
    featurevis,
    peers,
    subject,
    timing,
    transformers,
)
from tests.networks.architectures import randomize


class Tiny(nn.Module):
    """A convolution and a dense layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(2, (3, 3))(x))
        return nn.Dense(3)(x.mean((1, 2)))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    some = attribution.Network(Tiny, 6, 3, 3, 2, attribution.SOME)
    monkeypatch.setattr(attribution, "NETWORKS", {"tiny": some})
    monkeypatch.setattr(attribution, "TABLES", {"attribution": ("tiny",)})


def measured(method: str, owner: str, images: int, *seconds: float) -> timing.Measured:
    return timing.Measured("net", method, owner, 1.0, 2.0, images, list(seconds))


def test_ratios_are_of_medians_and_to_our_gradient_per_image() -> None:
    rows = [
        measured("gradient", "jaxinterp", 4, 0.2, 0.4, 9.0),
        measured("lrp", "jaxinterp", 4, 0.8, 0.8),
        measured("integrated", "jaxinterp", 1, 5.0),
        measured("lrp", "zennit", 4, 1.6),
    ]
    lines = timing.table(rows).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[1] for row in cells] == ["gradient", "lrp", "integrated"]
    assert [row[5] for row in cells] == ["1.00", "2.00", "50.00"]
    assert [row[7] for row in cells] == ["-", "0.50", "-"]


def test_the_command_writes_the_methods_of_a_network(
    tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "some.md"
    attribution.main(["--rounds", "1", "--output", str(output)])
    text = output.read_text()
    assert [line.split(" | ")[1] for line in text.splitlines()[6:]] == [
        "forward",
        "gradient",
        "guided_backprop",
        "lrp epsilon_plus_flat",
        "integrated_gradients 50 steps, 1 image",
    ]
    assert "| tiny, 6 x 6, batch 2 | gradient |" in capsys.readouterr().out


def test_less_than_a_table_does_not_replace_the_committed_one(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(attribution, "RESULTS", tmp_path / "results")
    asked: list[str] = []

    def measure(name: str, rounds: int, only: str) -> list[timing.Measured]:
        asked.append(f"{name} {rounds} {only}")
        return [measured("gradient", "jaxinterp", 1, 1.0)]

    monkeypatch.setattr(attribution, "measure", measure)
    attribution.main(["--networks", "tiny", "--rounds", "2"])
    attribution.main(["--only", "lrp"])
    assert not (tmp_path / "results").exists()
    assert (tmp_path / "benchmark.md").exists()
    attribution.main([])
    assert (tmp_path / "results" / "attribution.md").exists()
    assert asked == ["tiny 2 ", "tiny 4 lrp", "tiny 4 "]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--networks", "resnet18,alexnet"], "no network alexnet. There are: "),
        (["--rounds", "0"], "--rounds must be at least 1, and is 0."),
        (["--table", "digits"], "invalid choice: 'digits'"),
    ],
)
def test_what_there_is_not_cannot_be_asked_for(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        attribution.main(options)
    assert message in capsys.readouterr().err


def test_tables_peers_and_methods_name_what_there_is() -> None:
    in_tables = [name for names in attribution.TABLES.values() for name in names]
    assert sorted(in_tables) == sorted(attribution.NETWORKS)
    assert set(peers.CANONIZERS) < set(peers.NETWORKS) < set(attribution.NETWORKS)
    for network in attribution.NETWORKS.values():
        assert set(network.methods) <= set(attribution.methods(network.build().apply))


def test_the_floor_is_in_forward_and_backward_passes() -> None:
    rows = [
        measured("forward", "jaxinterp", 4, 0.4),
        measured("gradient", "jaxinterp", 4, 1.2),
        measured("occlusion", "jaxinterp", 1, 2.0),
        measured("unknown", "jaxinterp", 1, 2.0),
    ]
    rows[2].floor = 6, 2  # 0.1 s forward, 0.2 s backward
    lines = timing.table(rows).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[8:] for row in cells[2:]] == [["6 f + 2 b", "2.00"], ["-", "-"]]


def test_methods_are_compared_with_the_peers_alone_that_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(compared.SITES) <= set(attribution.NETWORKS)
    for row in compared.METHODS.values():
        assert set(row.networks) <= set(compared.SITES)
    monkeypatch.setattr(compared, "available", lambda: False)
    output = tmp_path / "some.md"
    options = ["--networks", "digits", "--only", "cam", "--rounds", "1"]
    compared.main([*options, "--output", str(output)])
    lines = capsys.readouterr().out.splitlines()
    (cells,) = [line.split("|") for line in lines if "| score_cam |" in line]
    assert cells[9].strip() == "33 f + 0 b"  # 32 channels
    assert "| grad_cam |" in output.read_text()


# --- Transformers ---------------------------------------------------------------------


def test_a_stack_computes_the_same_in_a_scan_and_computed_again() -> None:
    shape, tokens = transformers.SHAPES["tiny"], jnp.array([[3, 1, 4]])
    scanned = transformers.Stack(shape, is_scanned=True, is_rematerialized=True)
    written_out = transformers.Stack(shape, is_scanned=False)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), tokens)

    def both(variables: Any) -> Any:
        params = dict(variables["params"])
        blocks = params.pop("blocks")
        for i in range(shape.depth):
            params[f"blocks_{i}"] = jax.tree.map(lambda leaf, i=i: leaf[i], blocks)
        others = written_out.apply({"params": params}, tokens)
        return scanned.apply(variables, tokens), others

    one, other = jax.jit(both)(randomize(shapes, jax.random.key(1)))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(one).max())


def test_tables_of_transformers_say_seconds_and_ratios_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = iter([(i + 0.5, 2.0**i) for i in range(100)])
    monkeypatch.setattr(timing, "compiled", lambda *args: (None, *next(figures)))
    shape = transformers.SHAPES["tiny"]
    table = transformers.depth_table(shape, 3, (2, 4))
    assert cells_of(table) == [
        ["2", "1.5", "2.5", "4.5", "5.5"],
        ["4", "7.5", "8.5", "10.5", "11.5"],
    ]
    rows = cells_of(transformers.memory_table(shape, 3))
    assert [row[:2] for row in rows] == [
        ["written out", "no"],
        ["written out", "yes"],
        ["one scan", "no"],
        ["one scan", "yes"],
    ]
    assert {row[4] for row in rows} == {"2.00"}


@pytest.mark.slow(reason="compiles transformers")
def test_the_command_times_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "lxt_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    options = ["--shape", "tiny", "--lengths", "3", "--reads", "last"]
    transformers.main([*options, "--rounds", "1", "--only", "time"])
    text = (tmp_path / "benchmark.md").read_text()
    for method in ("forward", "gradient", "lrp attn_lrp"):
        assert f"| 3 tokens, last logits | {method} |" in text


# --- Feature visualization ------------------------------------------------------------


class Deep(nn.Module):
    """Two convolutions and a dense layer."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(3, (3, 3), name="early")(x))
        x = nn.relu(nn.Conv(16, (3, 3), name="late")(x))
        return nn.Dense(3, name="logits")(x.mean((1, 2)))


@pytest.fixture
def deep() -> subject.Subject:
    module = Deep()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3), jnp.float32))
    return subject.Subject(
        *("deep", module.apply, variables, "early", 3, ("early", "late")),
        side=8,
        transforms=(),
    )


def cells_of(table: str) -> list[list[str]]:
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_a_step_is_what_longer_calls_take_longer() -> None:
    # 3 s of tracing, and 0.5 s a step; the last round was disturbed.
    found = featurevis.pace(4, [3.5, 3.5, 3.5], [7.5, 7.5, 99.0], 8)
    assert found == featurevis.Pace(4, 0.5, 3.0)
    assert found.per_image == 0.125
    assert found.usual == (3.0 + 512 * 0.5) / 4


def test_ratios_are_of_steps_of_as_many_images() -> None:
    found = {
        (1, featurevis.OURS): featurevis.Pace(1, 0.1, 1.0),
        (1, featurevis.FIRST): featurevis.Pace(1, 0.2, 1.0),
        (1, featurevis.LUCENT): featurevis.Pace(1, 0.4, 9.0),
        (1, featurevis.SMALL): featurevis.Pace(1, 0.2, 9.0),
        (4, featurevis.OURS): featurevis.Pace(4, 0.6, 1.0),
    }
    assert cells_of(featurevis.time_table(found)) == [
        ["1", "jaxinterp", "100.0", "1.0", "52.2", "0.25", "0.50"],
        ["1", "jaxinterp, first steps", "200.0", "1.0", "-", "0.50", "1.00"],
        ["1", "lucent", "400.0", "9.0", "213.8", "-", "-"],
        ["1", "lucent, shown as small as ours", "200.0", "9.0", "111.4", "-", "-"],
        ["4", "jaxinterp", "150.0", "1.0", "77.0", "-", "-"],
    ]


@pytest.mark.slow(reason="compiles an optimization, as the benchmark does")
def test_other_channels_compile_nothing(deep: subject.Subject) -> None:
    (row,) = cells_of(featurevis.compile_table(deep, (1,)))
    assert (row[0], row[1], row[4]) == ("1", "2", "0")
    # Another number of pictures is another program.
    with featurevis.compilations() as compiled:
        subject.maximized(
            deep, subject.channels(deep, 2), 1, composite=featurevis.DERIVATIVE
        )
    assert compiled().steps == 1
    assert compiled().seconds > 0
    # Nothing listens any more.
    subject.maximized(
        deep, subject.channels(deep, 3), 1, composite=featurevis.DERIVATIVE
    )
    assert compiled().steps == 1


@pytest.mark.parametrize(
    "batch_size",
    [2, pytest.param(None, marks=pytest.mark.slow(reason="compiles a whole layer"))],
)
def test_a_whole_layer_is_one_program(
    deep: subject.Subject, batch_size: int | None
) -> None:
    first, second = cells_of(featurevis.layer_table(deep, 1, batch_size))
    assert first[:4] == ["3", "1", str(batch_size or "chosen"), "first"]
    assert (first[6], second[6]) == ("1", "0")


@pytest.mark.slow(reason="counts the operations of a deep network")
def test_costs_are_of_what_is_computed(deep: subject.Subject) -> None:
    rows = cells_of(featurevis.cost_table(deep))
    assert [row[0] for row in rows] == ["early", "late", "the logits"]
    early, late, whole = [int(row[2].removesuffix("%")) for row in rows]
    assert early < late <= whole == 100


@pytest.mark.slow(reason="compiles three programs of up to 64 images")
def test_memory_grows_with_the_batch_size_alone(deep: subject.Subject) -> None:
    def memory(units: int, size: int) -> int:
        objective = subject.channels(deep, units)
        program = featurevis.step_program(deep, objective, batch_size=size)
        return program.memory_analysis().temp_size_in_bytes

    chunked = memory(64, 16)
    assert memory(64, 64) > 2.5 * chunked
    pictures = 64 * 8 * 8 * 3 * 4
    assert chunked < 1.2 * memory(32, 16) + pictures


def test_memory_is_in_megabytes_and_for_an_image(
    deep: subject.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Program:
        def memory_analysis(self) -> Any:
            return types.SimpleNamespace(temp_size_in_bytes=10_000_000)

    monkeypatch.setattr(featurevis, "step_program", lambda *args, **kwargs: Program())
    rows = cells_of(featurevis.memory_table(deep, (1, 4), 4))
    assert rows == [["4", "1", "10", "10.0"], ["4", "4", "10", "2.5"]]


@pytest.fixture
def is_deep(monkeypatch: pytest.MonkeyPatch, deep: subject.Subject) -> None:
    monkeypatch.setattr(featurevis, "googlenet", lambda with_peer: deep)


@pytest.mark.slow(reason="runs the benchmarks")
def test_the_command_writes_every_table(
    is_deep: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("compile_table", "layer_table", "cost_table", "memory_table"):
        monkeypatch.setattr(featurevis, name, lambda *args, name=name: f"the {name}")
    output = tmp_path / "new" / "some.md"
    arguments = ["--rounds", "1", "--images", "1", "--image-steps", "1"]
    featurevis.main([*arguments, "--output", str(output)])
    text = output.read_text()
    parts = [part.split("\n\n") for part in text.split("\n\n## ")[1:]]
    assert [title for title, *_ in parts] == [
        "What is compiled",
        "Time",
        "All channels of the layer, one step",
        "Operations",
        "Memory beside arguments and results",
    ]
    assert parts[0][1] == "the compile_table"
    assert parts[2][1] == "the layer_table"
    assert "deep, early, 8 x 8, float32" in text
    assert "| 1 | jaxinterp, first steps |" in text
    assert text in capsys.readouterr().out


@pytest.mark.slow(reason="compiles a whole layer")
def test_the_layer_of_an_accelerator_is_timed_alone(
    is_deep: None, tmp_path: Path
) -> None:
    output = tmp_path / "layer.md"
    arguments = ["--gpu-layer", "--steps", "2", "--batch-size", "2"]
    featurevis.main([*arguments, "--output", str(output)])
    rows = [line for line in output.read_text().splitlines() if line[:3] == "| 3"]
    assert [cells_of(f"\n\n{row}")[0][:4] for row in rows] == [
        ["3", "2", "2", "first"],
        ["3", "2", "2", "second"],
    ]


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ([], "results/featurevis.md"),
        (["--gpu-layer"], "results/featurevis_layer.md"),
        (["--rounds", "2"], "benchmark.md"),
        (["--gpu-layer", "--steps", "2"], "benchmark.md"),
    ],
)
def test_only_the_usual_measurement_replaces_the_committed_one(
    arguments: list[str],
    written: str,
    is_deep: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*args: Any) -> str:
        return "nothing"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(featurevis, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(featurevis, "report", nothing)
    monkeypatch.setattr(featurevis, "layer_table", nothing)
    featurevis.main(arguments)
    assert list(tmp_path.rglob("*.md")) == [tmp_path / written]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, and is 0."),
        (["--images", "4", "0"], "--images must be at least 1, and is 0."),
        (["--image-steps", "0"], "--image-steps must be at least 1, and is 0."),
        (["--gpu-layer", "--steps", "-1"], "--steps must be at least 1, and is -1."),
        (["--batch-size", "0"], "--batch-size must be at least 1, and is 0."),
    ],
)
def test_numbers_are_positive(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        featurevis.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_lucent_sees_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = subject.googlenet()
    assert usual.peer is not None
    found = featurevis.contestants(usual._replace(side=32), 2)
    assert list(found) == [featurevis.OURS, featurevis.LUCENT, featurevis.SMALL]
    hooks: list[int] = []

    def activation(model: Any, layer: str, images: np.ndarray) -> np.ndarray:
        return 2 * true_activation(model, layer, images)

    for name in (featurevis.LUCENT, featurevis.SMALL):
        assert found[name](1).shape == (2, 32, 32, 3)
        hooks.append(sum(len(m._forward_hooks) for m in usual.peer.modules()))
    assert hooks == [0, 0]
    true_activation: Callable[..., np.ndarray] = peers.activation
    monkeypatch.setattr(peers, "activation", activation)
    with pytest.raises(RuntimeError, match=r"differ by 5\.0e-01 of the largest"):
        subject.googlenet()
