"""The widths of a knapsack in a pruning run: as its whole search, or as a first look beside another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..options import RecipeOptions
from ..search import Evolution, Knapsack, Searcher
from ..utils import check_instance

__all__ = ['KNAPSACK', 'checked_epochs', 'first_look', 'is_knapsack', 'searcher_of']

KNAPSACK = 'knapsack'


def checked_epochs(epochs: int | None, search: Any, importance: Any) -> int:
    """Return the epochs of the supernet, none by default with the knapsack; refuse searches that cannot be made."""
    if isinstance(search, str):
        if search != KNAPSACK:
            raise ValueError(f'search={search!r} must be {KNAPSACK!r}, or a searcher such as Evolution().')
        if importance is None:
            raise ValueError(
                f'importance=None: search={KNAPSACK!r} chooses widths by the importance of channels. Give a rule, such as '
                "importance='group'."
            )
    elif search is not None:
        check_instance('search', search, Searcher)
    default = 0 if is_knapsack(search) else RecipeOptions.option('epochs').default
    return RecipeOptions.check('epochs', default if epochs is None else epochs)  # type: ignore[no-any-return]


def is_knapsack(search: Any) -> bool:
    """Whether a search is the knapsack alone."""
    return search == KNAPSACK or isinstance(search, Knapsack)


def searcher_of(search: Searcher | str | None, importance: Mapping[str, Sequence[float]] | None) -> Searcher:
    """Return the searcher of a run; ``importance`` is that of the channels in their order, None if it is unknown.

    An evolution that starts from uniform networks starts from the knapsack's widths as well.
    """
    if search == KNAPSACK and importance is not None:
        return Knapsack(importance)
    found = Evolution(initial='uniform') if search is None or isinstance(search, str) else search
    if importance is None or not isinstance(found, Evolution) or found.initial != 'uniform':
        return found
    return Evolution(**{**found.to_dict(), 'initial': [Knapsack(importance), 'uniform']})


def first_look(searcher: Searcher) -> Knapsack | None:
    """Return the knapsack from whose widths a search starts; None if there is none."""
    initial = searcher.initial if isinstance(searcher, Evolution) else None
    given = initial if isinstance(initial, list) else []
    return next((each for each in given if isinstance(each, Knapsack)), None)
