"""Faithfulness: the area by hand, the table, tokens of sentences, small networks."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import zoo
from experiments.faithfulness import __main__ as command
from experiments.faithfulness import measure, sentences, subjects
from experiments.faithfulness.measure import Row, faithfulness, measured, table
from experiments.faithfulness.methods import methods
from experiments.faithfulness.subjects import PATCH, Subject, written
from experiments.zoo.recipe import Trained
from experiments.zoo.sentiment import PADDING, START, UNKNOWN, Praise, encoded
from jaxinterp.metrics import inverse
from jaxinterp.models.architectures.bert import Bert
from jaxinterp.models.architectures.transformer import Transformer
from jaxinterp.models.architectures.vit import ViT
from jaxinterp.perturbation import grid_segments

TRAIN = "a fine , fine film\t1\nno fine film\t0\na dull film\t0\n"
SMALL = "a fine film\t1\nan odd , dull film\t0\nfine\t1\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with sentences of ours in place of those of SST-2."""
    (tmp_path / "sst2_test.tsv").write_text(TRAIN)
    (tmp_path / "sst2_dev.tsv").write_text(SMALL)
    monkeypatch.setenv("JAXINTERP_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("files")
def test_sentences_become_tokens_of_their_frequent_words() -> None:
    task = Praise(vocabulary=6, length=5)
    assert task.words() == ("[PAD]", "[UNK]", "[CLS]", "fine", "film", "a")
    train = task.train_set(None)
    np.testing.assert_array_equal(
        train.inputs,
        [
            [START, 5, 3, UNKNOWN, 3],  # the last word is cut
            [START, UNKNOWN, 3, 4, PADDING],
            [START, 5, UNKNOWN, 4, PADDING],
        ],
    )
    assert train.labels.tolist() == [1, 0, 0]


@pytest.mark.usefixtures("files")
def test_what_stops_the_training_and_what_is_held_out_share_no_sentence() -> None:
    task = Praise(vocabulary=6, length=5)
    exam, held_out = task.exams(None)["accuracy"], task.draw(None, 1)
    np.testing.assert_array_equal(exam.inputs, task.tokens(["a fine film", "fine"]))
    np.testing.assert_array_equal(held_out.inputs, task.tokens(["an odd , dull film"]))
    assert (exam.labels.tolist(), held_out.labels.tolist()) == ([1, 1], [0])
    with pytest.raises(ValueError, match="1 examples were held out, and 2 are asked"):
        task.draw(None, 2)


@pytest.mark.slow(reason="trains the reader of sentences")
def test_the_zoo_reads_sentences_that_were_held_out(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXINTERP_DATA", str(real_data))
    monkeypatch.setenv("JAXINTERP_CACHE", str(tmp_path))
    network = zoo.load("sst2_bert")
    held_out = network.held_out(435)
    answers = network.apply_fn(network.variables, held_out.inputs).argmax(axis=1)
    assert float((answers == held_out.labels).mean()) > 0.7


def test_words_alone_are_dropped() -> None:
    tokens = jnp.tile(jnp.array([[START, 3, 4, UNKNOWN, PADDING]]), (500, 1))
    dropped = Praise(dropped=0.3).varied(jax.random.key(0), tokens)
    is_changed = np.asarray(dropped != tokens)
    assert not is_changed[:, [0, 3, 4]].any()
    np.testing.assert_allclose(is_changed[:, 1:3].mean(), 0.3, atol=0.05)
    assert (np.asarray(dropped)[is_changed] == UNKNOWN).all()


def test_absent_files_are_an_error_that_says_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXINTERP_DATA", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"none/sst2_test\.tsv\. The sentences"):
        Praise().train_set(None)
    with pytest.raises(FileNotFoundError, match=r"none/stories260K\.bin\. It is a"):
        subjects.stories260k(2)


# Tokens that add 0, 3, 2 and -1 to the score.
VALUES = jnp.array([[0.0, 0.0], [0.0, 3.0], [0.0, 2.0], [0.0, -1.0]])
TOKENS = jnp.array([[0, 1, 2, 3], [0, 3, 3, 0]])


def adder(values: Any, tokens: Any) -> Any:
    return values[tokens].sum(axis=1)


def adding() -> Subject:
    segments = np.array([[-1, 0, 1, 2], [-1, 0, 1, -1]])
    target = jnp.array([1, 1])
    return Subject(adder, VALUES, TOKENS, target, segments, 0, 0, "token_embedding")


def test_the_area_of_a_sum_by_hand() -> None:
    subject = adding()
    relevance = jnp.array([[9.0, 3.0, 2.0, -1.0], [9.0, 0.0, 1.0, 9.0]])
    found = faithfulness(subject)(VALUES, TOKENS, relevance, subject.target)
    # 4, 1, -1, 0 and 4, 5, 3, 0; then equal tokens, of which none comes first.
    np.testing.assert_allclose(found, [(4 + 4) / 4, 0.0], atol=1e-6)
    opposite = faithfulness(subject)(VALUES, TOKENS, -relevance, subject.target)
    np.testing.assert_allclose(opposite, -found, atol=1e-6)


def test_what_stays_is_not_replaced() -> None:
    replaced = adding()
    tokens = jnp.array([[1, 1, 2, 3], [2, 3, 3, 1]])
    changed = Subject(adder, VALUES, tokens, None, replaced.segments, 0, 0)
    np.testing.assert_array_equal(changed.replaced, [[1, 0, 0, 0], [2, 0, 0, 1]])


def test_methods_stand_beside_ours_example_by_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = adding()
    tokens = jnp.tile(jnp.array([[0, 1, 2, 3]]), (12, 1)).at[6:, 1].set(2)
    subject = Subject(
        *(adder, VALUES, tokens, jnp.ones(12, int)),
        *(subject.segments[:1], 0, 0, "token_embedding"),
    )

    def exact(variables: Any, inputs: Any, target: Any = None, key: Any = None) -> Any:
        return variables[inputs, 1]

    def worse(variables: Any, inputs: Any, target: Any = None, key: Any = None) -> Any:
        return jnp.abs(variables[inputs, 1] - 1.5)

    made = {"AttnLRP": worse, "exact": exact, "same": worse, "-exact": inverse(exact)}
    monkeypatch.setattr(measure, "methods", lambda _: made)
    rows = measured(subject)
    assert [rows[name].beside for name in made] == [0, 1, 0, -1]
    assert set(rows) == {*made, "random"}
    assert rows["exact"].low <= rows["exact"].mean <= rows["exact"].high


def test_the_table_has_a_column_for_each_network() -> None:
    one = {"AttnLRP": Row(1.0, 0.5, 1.5, 0), "random": Row(0.0, -0.1, 0.1, -1)}
    two = {"AttnLRP": Row(2.0, 1.0, 3.0, 0), "new": Row(3.0, 2.0, 4.0, 1)}
    assert table({"a": one, "b": two}).splitlines() == [
        "| method | `a` | `b` |",
        "|---|--:|--:|",
        "| AttnLRP | 1.00 [0.50, 1.50] | 2.00 [1.00, 3.00] |",
        "| random | 0.00 [-0.10, 0.10] ▼ | - |",
        "| new | - | 3.00 [2.00, 4.00] ▲ |",
    ]


def test_networks_that_are_not_run_keep_their_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(count: int) -> Subject:
        raise FileNotFoundError(f"no file for {count}.")

    made = {"absent": absent, "here": lambda count: adding()}
    row = Row(1.0, 0.5, 1.5, 0)
    monkeypatch.setattr(command, "SUBJECTS", made)
    monkeypatch.setattr(command, "measured", lambda _: {"AttnLRP": row})
    assert "absent" not in command.run(tmp_path, 2)
    assert "absent is left out. no file for 2." in capsys.readouterr().out
    path = tmp_path / "faithfulness.json"
    path.write_text(json.dumps({"absent": {"AttnLRP": [3.0, 2.0, 4.0, 0]}}))
    text = command.run(tmp_path, 2)
    assert "| AttnLRP | 3.00 [2.00, 4.00] | 1.00 [0.50, 1.50] |" in text
    assert (tmp_path / "faithfulness.md").read_text("utf-8") == text
    with pytest.raises(FileNotFoundError, match="no file for 2"):
        command.run(tmp_path, 2, ["absent"])


def test_a_model_writes_from_its_probabilities() -> None:
    def model(certain: Any, tokens: Any) -> Any:
        return 50.0 * jax.nn.one_hot((tokens + certain) % 7, 7)

    np.testing.assert_array_equal(written(model, 2, 2, 4), [[1, 3, 5, 0, 2]] * 2)


VARIABLE = jax.random.normal(jax.random.key(3), (2, 2 * PATCH, 2 * PATCH, 3))


def of_images() -> Subject:
    module = ViT(2 * PATCH, PATCH, width=8, depth=1, heads=2, mlp_width=8, classes=3)
    images = VARIABLE.astype(jnp.float32)
    variables = module.init(jax.random.key(0), images)
    segments = grid_segments((2 * PATCH, 2 * PATCH), PATCH)[..., None]
    target = jnp.array([0, 1])
    return Subject(module.apply, variables, images, target, segments, 0.35, 0)


def of_tokens() -> Subject:
    module = Transformer(
        vocabulary=7, width=8, depth=1, heads=2, max_length=6, mlp_width=8
    )
    tokens = jax.random.randint(jax.random.key(0), (2, 6), 1, 7)
    variables = module.init(jax.random.key(0), tokens)

    def last(variables: Any, tokens: Any) -> Any:
        return jnp.asarray(module.apply(variables, tokens))[:, -1]

    site, target = "Transformer/token_embedding", jnp.array([3, 4])
    segments = np.arange(-1, 5)[None]
    return Subject(last, variables, tokens, target, segments, 0, -1, site)


@pytest.mark.slow(reason="compiles every method of the table")
@pytest.mark.parametrize("make", [of_images, of_tokens])
def test_every_method_attributes_to_pixels_or_tokens(make: Any) -> None:
    subject = make()
    shape = subject.inputs.shape
    for name, attribute in methods(subject).items():
        found = jax.jit(attribute)(
            subject.variables, subject.inputs, subject.target, jax.random.key(0)
        )
        assert found.shape in (shape, shape[:-1]), name
        assert np.isfinite(found).all(), name
        assert np.ptp(np.asarray(found)) > 0, name


@pytest.mark.slow(reason="compiles relevance")
@pytest.mark.usefixtures("files")
def test_sentences_have_the_colors_of_their_words() -> None:
    task = Praise()
    words = task.words()
    module = Bert(2, len(words), 8, 1, 2, 8, task.length, token_types=1)
    texts = ["a fine film", "such a dull film"]
    tokens = jnp.asarray(encoded(texts, words, task.length))
    variables = module.init(jax.random.key(0), tokens)
    network = Trained("x", module.apply, variables, module, {}, {}, lambda _: None)
    one, two = sentences.colored(network, texts)
    assert one.texts[1:] == ("a", "fine", "film")
    assert two.texts[1:] == ("(such)", "a", "dull", "film")
    logits = np.asarray(module.apply(variables, tokens))
    share = 1 / (1 + np.exp(logits[0, 0] - logits[0, 1]))
    assert one.texts[0] == f"{share:.0%}:"
    assert one.relevance[0] == 0
    assert (one.relevance[1:] != 0).all()
    picture = sentences.image([one, two], width=3.0)
    assert picture.shape[1] == 300
