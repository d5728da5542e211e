"""The benchmark's command and table, on a network that takes no time."""

from pathlib import Path

import pytest
from flax import linen as nn

from experiments.benchmarks import attribution, peers, timing


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
