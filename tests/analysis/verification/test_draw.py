from __future__ import annotations

import numpy as np
from torch import nn

from nni_cafenet.analysis.verification.draw import random_channel_sets


def test_the_same_seed_gives_the_same_sets(analyzed, wired):
    members = {'a': nn.Conv2d(3, 4, 1), 'b': nn.Conv2d(4, 5, 1), 'c': nn.Conv2d(5, 6, 1), 'd': nn.Conv2d(6, 2, 1)}
    model = wired(lambda net, x: net.d(net.c(net.b(net.a(x)))), **members)
    graph = analyzed(model, (1, 3, 6, 6))
    drawn = [random_channel_sets(graph, ('a', 'c'), np.random.default_rng(3)) for _ in range(2)]
    assert list(drawn[0]) == ['a', 'c']
    for label, full in (('a', 4), ('c', 6)):
        chosen = drawn[0][label]
        assert np.array_equal(chosen, drawn[1][label])
        assert 1 <= len(chosen) < full  # never all: that would test nothing
        assert (np.diff(chosen) > 0).all()
        assert 0 <= chosen[0] <= chosen[-1] < full
