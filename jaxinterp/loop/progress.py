"""The progress bar of a long loop."""

from __future__ import annotations

from tqdm import tqdm

# From so many iterations on, a host loop shows its progress.
FEWEST_STEPS = 20


def progress_bar(total: int, name: str, *, is_shown: bool = True) -> tqdm:
    """Returns a progress bar, to be used in a `with` statement.

    Args:
        total: the number of steps of the loop; a loop of few steps shows no bar.
        name: the text beside the bar; a loop without a name shows no bar.
        is_shown: whether the caller wants a bar at all.
    """
    is_worth_it = is_shown and bool(name) and total >= FEWEST_STEPS
    return tqdm(total=total, desc=name, disable=not is_worth_it)
