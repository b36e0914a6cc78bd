from __future__ import annotations

import pytest

from nni_cafenet import CafeNet, Evolution, Fixed, LocallyFree, RandomSearch
from nni_cafenet.supernet.combination import Min
from nni_cafenet.supernet.width_sampling import UniformWidths


def test_the_settings_of_the_paper():
    paper = CafeNet('50%', preset='paper')
    assert paper.options.sharing == LocallyFree(offset=1, zone='centered', unit='bin')
    assert (paper.options.channel_sets_per_step, paper.options.channel_sets_per_score) == (2, 2)
    assert paper.options.temperature == 1
    assert paper.options.training.sampling == UniformWidths(1)
    assert paper.options.training.combine == Min()
    assert paper.options.training.distill is paper.options.training.ema is None
    assert paper.search == Evolution(50, 20)
    assert paper.options.statistics_batches == 20
    assert CafeNet('50%').options.temperature is None


def test_what_is_given_goes_before_it():
    strategy = CafeNet('50%', preset='paper', sharing=Fixed(), search=RandomSearch(3), temperature=2)
    assert strategy.options.sharing == Fixed()
    assert strategy.search == RandomSearch(3)
    assert strategy.options.temperature == 2


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="preset='cafenet' must be one of paper, or None"):
        CafeNet('50%', preset='cafenet')
