import time

import pytest
import torch

from zoo.side_by_side import machine, ratio, side_by_side


def test_every_side_once_a_round_in_turns():
    called: list[str] = []
    sides = {name: (lambda name=name: called.append(name)) for name in 'abc'}
    seconds = side_by_side(sides, 3, warm=1)
    assert called == list('abcabcbcacab')
    assert {name: len(times) for name, times in seconds.items()} == {'a': 3, 'b': 3, 'c': 3}


def test_processor_time_does_not_count_sleep():
    seconds = side_by_side({'sleep': lambda: time.sleep(0.02)}, 2, cpu_time=True, warm=0)
    assert max(seconds['sleep']) < 0.02
    assert min(side_by_side({'sleep': lambda: time.sleep(0.02)}, 2, warm=0)['sleep']) >= 0.02


def test_the_median_of_quotients_within_a_round():
    assert ratio({'a': [2.0, 30.0, 1.0], 'b': [1.0, 10.0, 1.0]}, 'a', 'b') == pytest.approx(2.0)


def test_the_machine_is_told():
    assert f'torch {torch.__version__}' in machine()
    assert f'{torch.get_num_threads()} thread' in machine()
