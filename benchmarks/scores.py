"""Which score of a supernet ranks widths best? Rivals of the loss at temperature 2, from the same forwards, on digits.

Network, widths, trainings from scratch and supernets are those of benchmarks/ranking.py; see its --help for the method.
Each width is scored from the outputs of the supernet on the same held-out pictures, with re-estimated running statistics:

  loss, T=1, 2, 3, 5   cross-entropy of the outputs, divided by a temperature
  standardized         cross-entropy of the outputs divided by their standard deviation over classes
  fitted               cross-entropy at the temperature that makes it smallest, found for each width and channel set
  1.5, 2, 3 x fitted   at that temperature times 1.5, 2 or 3
  accuracy             share of pictures that are classified correctly
  loss T=2 + accuracy  the loss at temperature 2, less the accuracy
  margin               max(0, 1 + largest other output - output of the true class), its mean
  trimmed 5 %, 10 %    mean loss (T=1) without the pictures with the largest losses
  median               median loss (T=1)
  Brier                squared error of the probabilities
  focal                (1 - p)^2 times the loss
  truncated            (1 - p^0.7) / 0.7, between the loss and the accuracy
  smoothed labels      cross-entropy with 10 % of the weight on all classes

Where several channel sets are tried, the best one represents a width; rows "mean of sets" average their losses at T=2.

Numbers: tau to the mean loss and the mean accuracy of the trainings, inside the band of equal MACs and over all widths, and
regret in the band (points). Mean ± standard deviation over supernet seeds; the second table has the differences to the loss
at T=2 with the same seeds, their 95 % t-interval, and how many are above 0. The last tables say how over-confident each
kind of supernet is on the held-out pictures (mean largest probability less accuracy; the temperature with the smallest
held-out loss; the share of the loss that 5 % of the pictures make), and whether that goes with what temperature 2 gains.

Everything runs on the CPU, and records are written as they come: a run that was killed continues when the same command is
given again, and more seeds may be added. In the output folder: scores.md, scores.json, truth.jsonl and outputs/.

examples:
  python benchmarks/scores.py --output scores --supernet-seeds 8
  python benchmarks/scores.py --output scores --truth ranking/truth.jsonl
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

import ranking
from confidence import confidence, confidence_page, fitted_temperature
from levers import difference
from nni_cafenet.search.scorer import Scorer
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_table
from nni_cafenet.utils.torch_files import load_torch, save_torch
from proof.figures import Floats, tau
from ranking import Supernet
from ranking_measures import Truth, regret, spread
from scored_outputs import scored_outputs

SUPERNETS = [each for each in ranking.SUPERNETS if each.length == 1]
BASE = 'loss, T=2'


def at_temperature(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of each picture of outputs divided by a temperature."""
    return lambda outputs, labels: cross_entropy(outputs / temperature, labels, reduction='none')


def standardized(outputs: Tensor, labels: Tensor) -> Tensor:
    return at_temperature(float(outputs.std(1, correction=0).mean()))(outputs, labels)


def at_fitted(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of each picture at a multiple of the temperature that makes the mean loss smallest."""

    def losses(outputs: Tensor, labels: Tensor) -> Tensor:
        return at_temperature(factor * fitted_temperature(outputs, labels))(outputs, labels)

    return losses


def correct(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(1) == labels).float()


def probability(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of the true class."""
    return outputs.softmax(1).gather(1, labels[:, None])[:, 0]


def margin(outputs: Tensor, labels: Tensor) -> Tensor:
    true = outputs.gather(1, labels[:, None])
    others = outputs.scatter(1, labels[:, None], -torch.inf).amax(1)
    return (1 + others - true[:, 0]).relu()


def trimmed(share: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the losses but the largest ones."""

    def losses(outputs: Tensor, labels: Tensor) -> Tensor:
        each = at_temperature(1)(outputs, labels).sort().values
        return each[: len(each) - round(share * len(each))]

    return losses


SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'loss, T=1': at_temperature(1),
    BASE: at_temperature(2),
    'loss, T=3': at_temperature(3),
    'loss, T=5': at_temperature(5),
    'standardized': standardized,
    'fitted': at_fitted(1),
    '1.5 x fitted': at_fitted(1.5),
    '2 x fitted': at_fitted(2),
    '3 x fitted': at_fitted(3),
    'accuracy': lambda outputs, labels: -correct(outputs, labels),
    'loss T=2 + accuracy': lambda outputs, labels: at_temperature(2)(outputs, labels) - correct(outputs, labels),
    'margin': margin,
    'trimmed 5 %': trimmed(0.05),
    'trimmed 10 %': trimmed(0.1),
    'median': lambda outputs, labels: at_temperature(1)(outputs, labels).median(),
    'Brier': lambda outputs, labels: (outputs.softmax(1) - torch.eye(outputs.shape[1])[labels]).square().sum(1),
    'focal': lambda outputs, labels: (1 - probability(outputs, labels)) ** 2 * at_temperature(1)(outputs, labels),
    'truncated': lambda outputs, labels: (1 - probability(outputs, labels) ** 0.7) / 0.7,
    'smoothed labels': lambda outputs, labels: cross_entropy(outputs, labels, label_smoothing=0.1, reduction='none'),
}
"""Scores of pictures, whose mean is the score of a channel set; lower is better."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    folder: Path = options.output
    space, widths, trained = ranking.start(options)
    truth, *_ = ranking.truth_of(space, widths, trained, options.training_seeds)
    outputs = all_outputs(widths, options)
    page = report(outputs, truth, options, folder)
    write_text(folder / 'scores.md', page)
    print(page, end='')


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    ranking.add_run_options(parser, supernets='supernets of each sharing, 2 or more', output='scores')
    return ranking.checked(parser, parser.parse_args(arguments), supernet_seeds=2)


# --- outputs of supernets, and scores from them ----------------------------------------------------


def all_outputs(widths: list[dict[str, int]], options: argparse.Namespace) -> dict[tuple[str, int], dict[str, Tensor]]:
    """Return ``{(supernet, seed): what `outputs_of` does}``."""
    found = {}
    jobs = list(itertools.product(range(options.supernet_seeds), SUPERNETS))
    for seed, supernet in tqdm(jobs, desc='Supernets'):
        path = options.output / 'outputs' / f'{supernet.name.partition("(")[0]}-{seed}.pt'
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_torch(outputs_of(supernet, seed, widths, options.supernet_epochs), path)
        found[supernet.name, seed] = load_torch(path, remedy='delete it')
    return found


def outputs_of(supernet: Supernet, seed: int, widths: list[dict[str, int]], epochs: int) -> dict[str, Tensor]:
    """Train a supernet; return its outputs (widths, channel sets, pictures, classes) and the labels."""
    module, data = ranking.train_supernet(supernet, seed, epochs)
    scorer = Scorer(
        module,
        sharing=supernet.sharing,
        heldout=list(data.heldout),
        statistics=data.batches(ranking.STATISTICS_BATCHES),
        channel_sets_per_step=supernet.channel_sets_per_step,
        seed=seed,
        context=module.trainer.precision_plugin.forward_context,
    )
    return scored_outputs(scorer, widths)


def scores_from(outputs: Tensor, labels: Tensor) -> dict[str, Floats]:
    """Return all scores of all widths, lower is better."""
    scores: dict[str, Floats] = {}
    for name, score in SCORES.items():
        values = np.array([[float(score(each, labels).mean()) for each in sets] for sets in outputs])
        scores[name] = values.min(1)
        if name == BASE and outputs.shape[1] > 1:
            scores[f'{name}, mean of sets'] = values.mean(1)
    return scores


# --- comparison -----------------------------------------------------------------------------------


def report(
    outputs: dict[tuple[str, int], dict[str, Tensor]], truth: Truth, options: argparse.Namespace, folder: Path
) -> str:
    """Return the tables; write the numbers behind them."""
    found = {key: scores_from(**each) for key, each in outputs.items()}
    numbers: dict[str, dict[str, list[dict[str, float]]]] = {}
    for supernet in SUPERNETS:
        runs = [found[supernet.name, seed] for seed in range(options.supernet_seeds)]
        numbers[supernet.name] = {name: [numbers_of(-run[name], truth) for run in runs] for name in runs[0]}
    write_json(folder / 'scores.json', numbers)
    parts = [
        f'{len(truth.accuracy)} widths, {int(truth.band.sum())} in the band, {options.training_seeds} trainings each; '
        f'{options.supernet_seeds} supernets of each sharing, {options.supernet_epochs} epochs'
    ]
    for name, table in numbers.items():
        columns = list(table[BASE][0])
        rows: list[Sequence[Any]] = [
            [score, *(spread([each[c] for each in runs]) for c in columns)] for score, runs in table.items()
        ]
        pairs: list[Sequence[Any]] = [
            [score, *(difference([a[c] - b[c] for a, b in zip(runs, table[BASE])]) for c in columns[:3])]
            for score, runs in table.items()
            if score != BASE
        ]
        parts += [f'**{name}**', as_table(['score', *columns], rows)]
        parts += [f'Differences to {BASE!r}, same seeds:', as_table(['score', *columns[:3]], pairs)]
    parts += ['**How over-confident they are**', confidence_page(*_confidence(outputs, numbers))]
    return '\n\n'.join([*parts, ''])


def _confidence(
    outputs: dict[tuple[str, int], dict[str, Tensor]], numbers: dict[str, dict[str, list[dict[str, float]]]]
) -> tuple[dict[str, list[dict[str, float]]], dict[str, list[float]]]:
    """Return what `confidence_page` shows."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in numbers}
    for (name, _), each in outputs.items():
        found[name].append(confidence(**each))
    band = 'tau in band, loss'
    gains = {
        name: [warm[band] - plain[band] for warm, plain in zip(table[BASE], table['loss, T=1'])]
        for name, table in numbers.items()
    }
    return found, gains


def numbers_of(goodness: Floats, truth: Truth) -> dict[str, float]:
    """Return the columns of a supernet."""
    band = truth.band
    return {
        'tau in band, loss': tau(goodness[band], -truth.loss[band]),
        'tau in band, accuracy': tau(goodness[band], truth.accuracy[band]),
        'tau, loss': tau(goodness, -truth.loss),
        'regret in band': regret(goodness[band], truth.accuracy[band]),
    }


if __name__ == '__main__':
    main()
