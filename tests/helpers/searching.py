"""A space whose costs are known, and a search of it."""

from __future__ import annotations

import itertools

import numpy as np

from nni_cafenet.search.budget import Budget


class Chain:
    """Convolutions in a row: MACs 27 w_1 + sum of 9 w_i w_(i+1), parameters the sum of widths."""

    def __init__(self, *choices: tuple[int, ...]) -> None:
        self.choices = {f'layer{i}': allowed for i, allowed in enumerate(choices)}
        self.full_widths = {label: allowed[-1] for label, allowed in self.choices.items()}

    listed = False

    def group_widths(self, widths):
        return widths

    def macs(self, widths):
        return 27 * widths[:, 0] + 9 * (widths[:, 1:] * widths[:, :-1]).sum(axis=1)

    def params(self, widths):
        return widths.sum(axis=1)

    def all(self):
        return np.array(list(itertools.product(*self.choices.values())))


def run(searcher, domain, budget, seed, score):
    """Return every batch of a search and its scores."""
    proposals = searcher.propose(domain, Budget.parse(budget, domain), np.random.default_rng(seed))
    history, batch = [], next(proposals)
    while batch is not None:
        scores = [score(widths) for widths in batch]
        history.append((batch, scores))
        try:
            batch = proposals.send(scores)
        except StopIteration:
            batch = None
    return history
