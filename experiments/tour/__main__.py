"""Writes the page: `python -m experiments.tour [--model module:build]`.

A model of your own is a function without arguments in a module of your own:

    # your_module.py
    import jaxinterp as ji
    from experiments.tour import Subject

    def build():
        apply_fn, variables = ji.models.from_linen(YourNet(), your_weights)
        return Subject(apply_fn, variables, images, labels, class_names)

`images` are `(count, height, width, channels)` in [0, 1], some hundred that the model
was not trained on, `labels` an integer for each. The questions that need something else
than images, such as texts, are those of the networks that come with this package, and
are left out then.
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
from tqdm import tqdm

from experiments.tour.page import Answered, Picture, Section, page
from experiments.tour.questions import (
    can_i_believe_it,
    does_it_cheat,
    how_does_the_image_look,
    how_little_fools_it,
    what_does_a_unit_look_for,
    what_does_each_input_do,
    which_circuit,
    which_concepts,
    which_labels_are_wrong,
    which_pixels,
    which_training_examples,
    which_words,
)
from experiments.tour.subject import Subject, built, checked, shipped


class Question(NamedTuple):
    """A question of the tour.

    Attributes:
        text: the question.
        module: the file that answers it.
        is_of_subject: whether it is asked of the subject, or of a network of its own.
    """

    text: str
    module: ModuleType
    is_of_subject: bool = True


QUESTIONS = (
    Question("Which pixels mattered?", which_pixels),
    Question("Can I believe it?", can_i_believe_it),
    Question("What does this unit look for?", what_does_a_unit_look_for),
    Question("How does the image look at each layer?", how_does_the_image_look),
    Question("Which concepts does it use?", which_concepts, False),
    Question("Does it cheat?", does_it_cheat, False),
    Question("How little change fools it, and is it noticed?", how_little_fools_it),
    Question("Which training examples mattered?", which_training_examples, False),
    Question(
        "Which labels are wrong, and how good is it really?", which_labels_are_wrong
    ),
    Question("What does each input do overall?", what_does_each_input_do, False),
    Question("Which circuit computes it?", which_circuit, False),
    Question("Which words mattered?", which_words, False),
)


def run(
    subject: Subject, output: Path, *, is_own: bool = False, seed: int = 0
) -> list[Answered]:
    """Answers the questions and writes `index.html`.

    Args:
        subject: the model and its images.
        output: the folder of the page; it is made if it does not exist.
        is_own: whether the subject is a user's: then only the questions about images
            are asked, and one that cannot be answered does not stop the others.
        seed: the seed of all that is random.

    Returns:
        The answers.
    """
    asked = [one for one in QUESTIONS if one.is_of_subject or not is_own]
    answers = []
    bar = tqdm(asked, unit="question")
    for question in bar:
        bar.set_description(question.text)
        answers.append(_answered(question, subject, is_own, seed))
    seconds = sum(one.seconds for one in answers)
    text = page(
        "How does this network think?",
        f"{len(answers)} questions to a trained network, each with its answer, and "
        "with what the answer cannot tell. Every picture was computed by jaxinterp.",
        answers,
        f"Made by python -m experiments.tour in {seconds:.0f} s, seed {seed}.",
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "index.html").write_text(text)
    return answers


def _answered(
    question: Question, subject: Subject, is_own: bool, seed: int
) -> Answered:
    start = time.perf_counter()
    try:
        section = question.module.answer(subject, jax.random.key(seed))
    except Exception as error:
        if not is_own:
            raise
        text = f"{type(error).__name__}: {error}"
        section = Section(
            "This question could not be answered for this model.",
            [Picture("", text)],
            "The message above says why.",
        )
    source = inspect.getsource(question.module)
    return Answered(question.text, section, source, time.perf_counter() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line.

    Args:
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", help="your own: your_module:build, as said above", metavar="M:F"
    )
    parser.add_argument("--output", type=Path, default=Path("tour"), help="folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    subject = built(options.model) if options.model else checked(shipped())
    run(subject, options.output, is_own=bool(options.model), seed=options.seed)
    print(f"wrote {options.output / 'index.html'}")


if __name__ == "__main__":
    main()
