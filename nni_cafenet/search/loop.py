"""Run a search: score its proposals, and record the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tqdm.auto import tqdm

from ..ranks import is_first
from .history import History, Scored
from .searcher import Proposals

__all__ = ['search_widths']


def search_widths(
    proposals: Proposals,
    score: Callable[[Sequence[Mapping[str, int]]], Iterable[Scored]],
    history: History,
    *,
    total: int,
    name: str,
    title: str = 'Search',
    hint: str = '',
) -> None:
    """Run a search to its end, with a progress bar of at most ``total`` widths.

    Widths in the history are not scored again. So a search resumes by running again on its history: with the same
    random numbers and scores it proposes the same widths. New scores are added as soon as they are known. The bar shows
    the ``hint`` until the first batch ends.
    """
    with tqdm(
        total=total, desc=title, unit='width', dynamic_ncols=True, postfix=hint or None, disable=not is_first()
    ) as bar:
        batch = next(proposals, None)
        while batch is not None:
            unknown = [widths for widths in batch if widths not in history]
            bar.update(len(batch) - len(unknown))
            for scored in score(unknown):
                history.add(scored)
                bar.update()
            fitness = [history.fitness(history[widths]) for widths in batch]
            best = history.leader
            bar.set_postfix({f'best {name}': f'{best.score:.4f}' if best else 'none'})
            try:
                batch = proposals.send(fitness)
            except StopIteration:
                batch = None
