"""Sizes of a run that its user left open: settled before it starts, and recorded for when it resumes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..search import Searcher
from ..stages import MOST_FINALISTS, MOST_STATISTICS_BATCHES, StageContext, Workload

__all__ = ['LeftOpen', 'Sizes']

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a run; ``record`` holds those that were left open."""

    statistics_batches: int
    search: Searcher
    finalists: int
    record: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOpen:
    """Which sizes were left open, besides the number of widths, which the searcher knows."""

    statistics_batches: bool
    finalists: bool

    def settled(self, context: StageContext, search: Searcher, recorded: Mapping[str, int]) -> Sizes:
        """Return the sizes of a run: what was given, else what an earlier start ``recorded``, else by its workload.

        A log line says what is below the usual default, why, and how to have more.
        """
        work, budgets = Workload.of(context.supernet), len(context.budgets)
        statistics = context.options.statistics_batches
        open_search = search.at_most(1) != search
        record = dict[str, int]()
        if self.statistics_batches:
            # Independent of the budgets, which may change in a later start that reuses the scores.
            most = work.statistics_batches(statistics, search.total if open_search else 0)
            statistics = record['statistics_batches'] = recorded.get('statistics_batches', most)
        found = search
        if open_search:
            widths = work.widths(statistics, budgets)
            record['widths'] = recorded.get('widths', search.total if widths is None else min(search.total, widths))
            found = search.at_most(record['widths'])
        number = context.finalists.number
        if self.finalists and number and context.finalists.halving is None:
            record['finalists'] = recorded.get('finalists', work.finalists(context.finalist_batches(), budgets))
            number = record['finalists']
        sizes = Sizes(statistics, found, number, record)
        if not recorded:
            self._tell(work, search, sizes)
        return sizes

    def _tell(self, work: Workload, search: Searcher, sizes: Sizes) -> None:
        fewer, more = list[str](), list[str]()
        if sizes.search.total < search.total:
            fewer.append(f'{sizes.search.total} widths for each budget, not {search.total}')
            more.append(f'search={_with_all_widths(search)} (--population, --generations)')
        if self.statistics_batches and sizes.statistics_batches < min(
            MOST_STATISTICS_BATCHES, work.epoch or MOST_STATISTICS_BATCHES
        ):
            fewer.append(f'{sizes.statistics_batches} statistics batches, not {MOST_STATISTICS_BATCHES}')
            more.append(f'statistics_batches={MOST_STATISTICS_BATCHES} (--statistics-batches)')
        if self.finalists and sizes.finalists < MOST_FINALISTS:
            fewer.append(f'{sizes.finalists} finalist{"" if sizes.finalists == 1 else "s"}, not {MOST_FINALISTS}')
            more.append(f'finalists={MOST_FINALISTS} (--finalists)')
        if fewer:
            cost = work.search(sizes.search.total, sizes.statistics_batches) if sizes.search.total < search.total else 0
            beyond = bool(work.training and cost and cost > work.training)
            _logger.warning(
                'By default, the sizes of a run follow the training of the supernet (%s forwards of a batch). So this run '
                'has %s.%s For more, give the number: %s.',
                f'{work.training:,}',
                '; '.join(fewer),
                ' These are the fewest that make a search, though it costs more.' if beyond else '',
                ', '.join(more),
            )


def _with_all_widths(search: Searcher) -> str:
    """Return a searcher as its user would write it to have as many widths as by default."""
    given, full = search.to_dict(), search.at_most(search.total).to_dict()
    options = ', '.join(f'{name}={value!r}' for name, value in full.items() if value != given[name])
    return f'{type(search).__name__}({options})'
