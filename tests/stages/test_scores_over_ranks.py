from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nni_cafenet.stages.scores_over_ranks import scores_over_ranks

SCRIPT = """
import sys
from torch import distributed
from nni_cafenet.stages.scores_over_ranks import scores_over_ranks

rank, ranks, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
distributed.init_process_group('gloo', init_method=f'file://{path}', rank=rank, world_size=ranks)
mine = []

def score(widths):
    mine.append(widths['a'])
    if widths['a'] == 13:
        raise ArithmeticError('13 brings bad luck')
    return 10 * widths['a']

print(list(scores_over_ranks(score, [{'a': a} for a in range(5)])), mine)
try:
    list(scores_over_ranks(score, [{'a': 11}, {'a': 12}, {'a': 13}]))
except ArithmeticError as error:
    print(error)
print(list(scores_over_ranks(score, [])))
distributed.destroy_process_group()
"""


def test_one_process_scores_all_as_they_are_asked_for():
    asked = []

    def score(widths):
        asked.append(widths)
        return len(asked)

    scores = scores_over_ranks(score, [{'a': 1}, {'a': 2}])
    assert next(scores) == 1
    assert asked == [{'a': 1}]
    assert list(scores) == [2]


@pytest.mark.parametrize('ranks', [2, pytest.param(3, marks=pytest.mark.sweep)])
def test_ranks_score_their_shares_and_errors_reach_all(tmp_path, ranks):
    command = [sys.executable, '-W', 'ignore', '-c', SCRIPT]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    running = [
        subprocess.Popen(
            [*command, str(rank), str(ranks), str(tmp_path / 'store')],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for rank, process in enumerate(running):
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error[-2000:]
        shares, bad_luck, nothing = out.splitlines()
        assert shares == f'[0, 10, 20, 30, 40] {list(range(rank, 5, ranks))}'
        assert bad_luck == '13 brings bad luck'
        assert nothing == '[]'
