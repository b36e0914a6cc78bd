from __future__ import annotations

import functools
import json

import pytest
import torch

import ranking
import scores


def test_a_tiny_run_that_continues(tmp_path, capsys, monkeypatch):
    quick = functools.partial(ranking.make_space, verify=False)
    for name, value in {'make_space': quick, 'TRAINING_IMAGES': 128, 'STATISTICS_BATCHES': 1}.items():
        monkeypatch.setattr(ranking, name, value)
    options = ['--widths', '4', '--training-seeds', '2', '--epochs', '1', '--supernet-epochs', '1']
    words = [*options, '--supernet-seeds', '2', '--output', str(tmp_path)]
    scores.main(words)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / 'outputs').iterdir()}
    assert {path.name for path in files} == {
        f'{kind}-{seed}.pt' for kind in ('Fixed', 'LocallyFree') for seed in (0, 1)
    }
    first = (tmp_path / 'scores.json').read_text()
    scores.main(words)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (tmp_path / 'scores.json').read_text() == first
    numbers = json.loads(first)
    assert set(numbers['Fixed']) == set(scores.SCORES)
    assert set(numbers['LocallyFree(1)']) == {*scores.SCORES, 'loss, T=2, mean of sets'}
    page = (tmp_path / 'scores.md').read_text()
    assert page in capsys.readouterr().out
    assert 'LocallyFree(1) less Fixed, same seeds:' in page


def test_the_loss_is_that_of_the_scorer(monkeypatch):
    monkeypatch.setattr(ranking, 'TRAINING_IMAGES', 128)
    monkeypatch.setattr(ranking, 'STATISTICS_BATCHES', 1)
    monkeypatch.setattr(ranking, 'make_space', functools.partial(ranking.make_space, verify=False))
    space = ranking.make_space(seed=0)
    widths = [space.full_widths, {label: width // 2 for label, width in space.full_widths.items()}]
    supernet = scores.SUPERNETS[1]
    stored = scores.outputs_of(supernet, 0, widths, epochs=1)
    found = scores.scores_from(stored['outputs'], stored['labels'])
    module, data = ranking.train_supernet(supernet, 0, epochs=1)
    for temperature in (1, 2):
        expected = [
            ranking.Scorer(
                module,
                sharing=supernet.sharing,
                heldout=list(data.heldout),
                statistics=data.batches(1),
                temperature=temperature,
                channel_sets_per_step=2,
                context=module.trainer.precision_plugin.forward_context,
            )
            .score(item)
            .score
            for item in widths
        ]
        assert found[f'loss, T={temperature}'] == pytest.approx(expected, rel=1e-5)


def test_scores_of_pictures():
    outputs = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
    labels = torch.tensor([0, 1])
    assert scores.margin(outputs, labels).tolist() == [0, 3]
    assert scores.trimmed(0.5)(outputs, labels) == pytest.approx(scores.at_temperature(1)(outputs, labels)[:1])
    assert scores.SCORES['accuracy'](outputs, labels).tolist() == [-1, 0]
