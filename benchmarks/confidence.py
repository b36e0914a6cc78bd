"""How over-confident a supernet is on held-out pictures, and whether that explains what a temperature gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import pearsonr
from torch import Tensor
from torch.nn.functional import cross_entropy

from nni_cafenet.search.temperature import FIT_GRID, fit_temperature
from nni_cafenet.utils.tables import as_table
from proof.figures import Floats, difference_cells, mean_and_spread

COLUMNS = ('confidence - accuracy (points)', 'fitted temperature', 'loss in the worst 5 % (%)')


def confidence(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the means over all widths of `COLUMNS`; of each width, the channel set with the smallest loss counts.

    Parameters
    ----------
    outputs
        Logits (widths, channel sets, pictures, classes).
    labels
        Classes (pictures,).
    """
    rows = [_of_width(_best_set(sets, labels), labels) for sets in outputs]
    return dict(zip(COLUMNS, np.mean(rows, axis=0).tolist()))


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the smallest cross-entropy, found as the package does for its scores."""
    losses = {temperature: float(cross_entropy(logits / temperature, labels)) for temperature in FIT_GRID}
    return fit_temperature(losses)[0]


def _best_set(sets: Tensor, labels: Tensor) -> Tensor:
    return min(sets, key=lambda logits: float(cross_entropy(logits, labels)))


def _of_width(logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    probabilities = logits.softmax(1)
    right = (logits.argmax(1) == labels).float().mean()
    losses = cross_entropy(logits, labels, reduction='none').sort(descending=True).values
    worst = losses[: max(1, round(0.05 * len(losses)))].sum() / losses.sum().clamp_min(1e-12)
    return 100 * float(probabilities.amax(1).mean() - right), fitted_temperature(logits, labels), 100 * float(worst)


def confidence_page(found: Mapping[str, Sequence[Mapping[str, float]]], gains: Mapping[str, Sequence[float]]) -> str:
    """Return the table of some supernets, differences to the first kind, and the correlation with what T=2 gains.

    Parameters
    ----------
    found
        ``{kind of supernet: [what `confidence` returned, for each seed]}``.
    gains
        ``{kind of supernet: [tau in band at temperature 2 less that at 1, for each seed]}``.
    """
    rows = [
        [kind, *(mean_and_spread([run[c] for run in runs]) for c in COLUMNS), mean_and_spread(gains[kind], '+')]
        for kind, runs in found.items()
    ]
    parts = [as_table(['supernet', *COLUMNS, 'tau in band gained by T=2'], rows)]
    first, *others = found
    for kind in others:
        pairs = {c: [a[c] - b[c] for a, b in zip(found[kind], found[first])] for c in COLUMNS}
        pairs['tau in band gained by T=2'] = [a - b for a, b in zip(gains[kind], gains[first])]
        cells = [[name, *difference_cells(values)] for name, values in pairs.items()]
        parts += [f'{kind} less {first}, same seeds:', as_table(['', 'mean', '95 % interval', 'above 0'], cells)]
    everything: Floats = np.array([[run[COLUMNS[0]] for run in runs] for runs in found.values()]).ravel()
    gained: Floats = np.array([gains[kind] for kind in found]).ravel()
    if len(gained) > 2:
        r = pearsonr(everything, gained)
        parts.append(
            f'Correlation of {COLUMNS[0]} with the gain, {len(gained)} supernets: {r.statistic:.2f} (p = {r.pvalue:.3f})'
        )
    return '\n\n'.join(parts)
