from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

import channel_bench_macro as bench

SPREAD, NOISE = 0.4, 0.2


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A small benchmark of the same format: accuracies follow size, and a spread that size does not explain."""
    path, rng = tmp_path_factory.mktemp('macro'), np.random.default_rng(0)
    records = {}
    for digits in itertools.product('1234', repeat=7):
        widths = np.array(list(map(int, digits))) / 4
        uniform = len(set(digits)) == 1
        if uniform or rng.random() < 0.15:
            macs = 1e8 * float((widths[:-1] * widths[1:]).mean())
            true = 90 + 4 * math.log(macs / 1e8 + 0.1) + (0 if uniform else SPREAD * rng.standard_normal())
            runs = true + NOISE * rng.standard_normal(3)
            records[''.join(digits)] = {
                'acc': runs.tolist(), 'mean': runs.mean(), 'std': runs.std(), 'params': int(macs / 9), 'flops': macs
            }  # fmt: skip
    (path / 'Results_MobileNet.json').write_text(json.dumps(records))
    return path


@pytest.fixture(scope='module')
def plans(folder):
    bench.main([str(folder), '--repeats', '200', '--candidates', '60', '--output', str(folder / 'out')])
    return json.loads((folder / 'out' / 'channel_bench_macro.json').read_text())


def test_headroom(plans, folder):
    assert [round(plan['share'], 3) for plan in plans] == [0.25, 0.562]  # (k / 4) ** 2; none is below the smallest
    plan = plans[0]
    records = json.loads((folder / 'Results_MobileNet.json').read_text())
    budget = records['2' * 7]['flops']
    band = [np.mean(r['acc']) for key, r in records.items() if 0.95 * budget <= r['flops'] <= budget and key != '2' * 7]
    assert plan['candidates'] == len(band)
    assert plan['uniform'] == pytest.approx(np.mean(records['2' * 7]['acc']))
    assert plan['headroom'] == pytest.approx(max(band) - plan['uniform'])
    assert abs(plan['real_headroom'] - plan['headroom']) < 3 * NOISE
    assert plan['noise'] == pytest.approx(NOISE, rel=0.2)
    assert plan['between'] == pytest.approx(SPREAD, rel=0.25)


def test_the_best_of_equal_networks_is_luck_and_not_headroom():
    accuracy = 90 + NOISE * np.random.default_rng(0).standard_normal((3000, 3))
    assert accuracy.mean(1).max() - 90 > 1.5 * NOISE
    assert abs(bench.real_headroom(accuracy) - 90) < 1.5 * NOISE


def test_a_better_score_wins_more_and_more_trainings_do(plans):
    for plan in plans:
        gains = [each['gain'] for each in plan['searchers'].values()]
        assert gains == sorted(gains)
        assert plan['searchers']['1.0']['regret'] == pytest.approx(0, abs=1e-9)
        assert plan['searchers']['1.0']['gain'] == pytest.approx(plan['best_possible'])
        regrets = [each['regret'] for each in plan['trainings'].values()]
        assert regrets[0] > regrets[3] > regrets[-1] - 0.05
        assert plan['as_trainings']['0.4'] <= plan['as_trainings']['0.8']
        # finalists that are trained beside the uniform network lose less where the score is poor
        assert plan['hybrids']['0.0 8']['gain'] > plan['searchers']['0.0']['gain']


def test_the_page(plans, folder):
    text = (folder / 'out' / 'channel_bench_macro.md').read_text()
    assert '| MobileNet |' in text
    for heading in ('## Headroom', '## Planning', '## Best of n trainings', '## How to read it'):
        assert heading in text


@pytest.mark.parametrize('wanted', [0.2, 0.5, 0.8])
def test_scores_have_the_tau_that_was_asked_for(wanted):
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((8, 300))
    sigma = bench.noise_for(truth, wanted, rng)
    found = np.mean([bench.tau(row, row + sigma * rng.standard_normal(300)) for row in truth])
    assert found == pytest.approx(wanted, abs=0.03)


def test_trainings_that_win_as_much():
    numbers, gains = [1, 2, 4, 8], [0.0, 0.1, 0.3, 0.4]
    assert bench.trainings_for(0.2, numbers, gains) == pytest.approx(3)
    assert bench.trainings_for(0.0, numbers, gains) == bench.trainings_for(-1, numbers, gains) == 1
    assert bench.trainings_for(0.5, numbers, gains) == math.inf


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('{', 'JSONDecodeError'),
        ('[]', 'AttributeError'),
        ('{"5555555": {}}', "key '5555555' is not seven digits from 1 to 4"),
        ('{"1111111": {"acc": [90], "flops": 1, "params": 1}}', 'two or more accuracies'),
        ('{"1111111": {"acc": [90, 91], "params": 1}}', 'flops'),
    ],
)
def test_other_files_are_refused(tmp_path, text, said):
    (tmp_path / 'Results_ResNet.json').write_text(text)
    with pytest.raises(SystemExit, match=f'Results_ResNet.json: is no table of Channel-Bench-Macro.*{said}'):
        bench.main([str(tmp_path), '--output', str(tmp_path / 'out')])


def test_a_file_that_is_not_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        bench.main([str(tmp_path / 'nothing')])
    assert 'no such file' in capsys.readouterr().err
