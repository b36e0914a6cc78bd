"""Search headroom: the rank of the uniform network among widths of equal cost, and the noise of scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .budget import FloatArray
from .history import Scored

__all__ = ['Headroom', 'headroom_of', 'kendall_tau']

_FEWEST = 10
"""Minimum number of widths of equal cost for a statement."""

_AGREE = 0.6
"""Kendall's tau below which two temperatures rank widths differently."""

_OVER_CONFIDENT = 1.5
"""Fitted temperature above which a supernet is over-confident; a healthy one has 0.8 to 1."""


@dataclass(frozen=True)
class Headroom:
    """Possible gain over the uniform network under a budget, estimated from supernet scores.

    Attributes
    ----------
    budget
        Its name; None for a single budget.
    number
        The number of widths that cost about as much as the uniform network.
    drawn
        Whether these were drawn at random; else the search proposed them, so they improve over time.
    better
        Share of them, 0..1, that score worse than the uniform network.
    gain
        Score of the best width minus that of the uniform network, in the direction of better scores.
    spread
        Standard deviation of their scores.
    noise
        Standard error of the difference of two scores due to the choice of held-out samples, without the noise of training;
        None if unknown.
    agreement
        ``{'1 and 2': tau}``: Kendall's tau between the rankings at two temperatures; ``{'fitted and 1': tau}`` where the
        temperature of scores is fitted.
    temperature
        Median of the fitted temperatures; None if it was given or does not apply.
    """

    budget: str | None
    number: int
    drawn: bool
    better: float
    gain: float
    spread: float
    noise: float | None
    agreement: dict[str, float]
    score: str
    temperature: float | None = None

    @property
    def over_confident(self) -> bool:
        """Whether the supernet is surer of its outputs than held-out samples justify."""
        return self.temperature is not None and self.temperature > _OVER_CONFIDENT

    @property
    def warns(self) -> bool:
        """Whether temperatures disagree on the ranking of widths, or the supernet is over-confident."""
        if self.temperature is None:
            return min(self.agreement.values(), default=1.0) < _AGREE
        return self.over_confident or self.agreement.get('fitted and 1', 1.0) < _AGREE

    def sentences(self) -> list[str]:
        """Return the findings as sentences."""
        kind = 'random widths' if self.drawn else 'widths that were searched'
        where = 'By' if self.budget is None else f'Under {self.budget}, by'
        said = [
            f'{where} this supernet, the uniform network is better than {100 * self.better:.0f} % of {self.number} {kind} '
            f'of its cost: {self._verdict()}.'
        ]
        if self.noise:
            said.append(
                f'Scores of equal cost spread by {self.spread / self.noise:.1f} times the noise of a difference'
                + (': the supernet can hardly tell these widths apart.' if self.spread < 2 * self.noise else '.')
            )
            if self.gain > 0:
                within = ', which is within the noise' if self.gain < 2 * self.noise else ''
                said.append(
                    f'The best width has a {self.score} that is {self.gain:.3g} better than that of the uniform network '
                    f'({self.gain / self.noise:.1f} times the noise){within}.'
                )
        if self.gain <= 0:
            said.append('No width scored better than the uniform network.')
        if self.temperature is not None:
            said.append(f'The outputs of these widths fit at temperature {self.temperature:.2f} (median).')
        if self.agreement:
            taus = '; '.join(f'{pair}: {tau:.2f}' for pair, tau in self.agreement.items())
            said.append(f"Agreement of the scores at temperatures (Kendall's tau): {taus}.")
        if self.warns:
            said.append(f'Warning: {self._warning()} Let several finalists and the uniform network decide.')
        return said

    def _warning(self) -> str:
        less = 'train it for fewer epochs or with more regularization, and hold out more data.'
        more = 'Train it for more epochs, if its held-out loss still falls.'
        if self.over_confident:
            return f'the supernet is over-confident: {less}'
        if self.temperature is not None:
            return f'the scale of their outputs orders these widths as much as what they get right. {more}'
        return (
            f'temperatures order these widths differently. Either the supernet is over-confident: {less} Or it is not '
            f'trained enough. {more}'
        )

    def _verdict(self) -> str:
        if self.better >= 0.9:
            return 'little can be gained'
        if self.better >= 0.5:
            return 'some gain is possible'
        return 'its shape does not suit this budget, so much can be gained'


def headroom_of(
    uniform: Scored,
    others: Sequence[Scored],
    *,
    best: Scored | None,
    higher_is_better: bool,
    score: str,
    budget: str | None = None,
    drawn: bool = True,
) -> Headroom | None:
    """Compare the uniform network with other widths of its cost; None if too few of them have a score.

    ``best`` is the best width found, by default the best of ``others``.
    """
    known = [each for each in others if math.isfinite(each.score) and each.widths != uniform.widths]
    if len(known) < _FEWEST or not math.isfinite(uniform.score):
        return None
    sign = 1 if higher_is_better else -1
    scores = sign * np.array([each.score for each in known])
    own = sign * uniform.score
    found = float(scores.max()) if best is None else sign * best.score
    return Headroom(
        budget=budget,
        number=len(known),
        drawn=drawn,
        better=float((scores < own).mean()),
        gain=found - own,
        spread=float(scores.std(ddof=1)),
        noise=_noise(known),
        agreement=_agreement(known),
        score=score,
        temperature=_fitted(known),
    )


def _noise(scored: Sequence[Scored]) -> float | None:
    """Return the standard error of a difference of two scores, from the residuals of a table of widths and parts."""
    count = len(scored[0].parts)
    rows = [each.parts for each in scored if len(each.parts) == count and all(map(math.isfinite, each.parts))]
    if count < 2 or len(rows) < 2:
        return None
    table: FloatArray = np.array(rows)
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    variance = (rest**2).sum() / ((count - 1) * (len(rows) - 1))
    return float(np.sqrt(2 * variance / count))


def _fitted(scored: Sequence[Scored]) -> float | None:
    """Return the median temperature of scores; None if all have the same one, which was given."""
    temperatures = [each.temperature for each in scored if math.isfinite(each.temperature)]
    return float(np.median(temperatures)) if len(set(temperatures)) > 1 else None


def _agreement(scored: Sequence[Scored]) -> dict[str, float]:
    temperatures = sorted(scored[0].by_temperature)
    known = [each for each in scored if sorted(each.by_temperature) == temperatures]
    known = [each for each in known if all(map(math.isfinite, each.by_temperature.values()))]
    if len(known) < _FEWEST:
        return {}
    columns = {f'{t:g}': [each.by_temperature[t] for each in known] for t in temperatures}
    if _fitted(known) is None:
        pairs = list(itertools.combinations(columns, 2))
    else:
        pairs = [('fitted', name) for name in columns]
        columns['fitted'] = [each.score for each in known]
    return {f'{one} and {other}': kendall_tau(columns[one], columns[other]) for one, other in pairs}


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau-b of two rankings; NaN if one of them has only ties."""
    a, b = (np.sign(np.subtract.outer(x, x)) for x in (np.asarray(one, float), np.asarray(other, float)))
    scale = math.sqrt(float((a**2).sum()) * float((b**2).sum()))
    return float((a * b).sum()) / scale if scale else math.nan
