from __future__ import annotations

import pytest
from torch import nn

from nni_cafenet import EqualBins, WidthMutator, WidthSpace


class Net(nn.Module):
    """A stem of 16 channels, summed with a side of 16, then a head of 48."""

    def __init__(self):
        super().__init__()
        self.stem, self.side, self.head = nn.Conv2d(3, 16, 1), nn.Conv2d(3, 16, 1), nn.Conv2d(16, 48, 1)
        self.fc = nn.Linear(48, 2)

    def forward(self, x):
        return self.fc(self.head(self.stem(x) + self.side(x)).mean((2, 3)))


def choices(divisor) -> list[tuple[int, ...]]:
    space = WidthSpace(Net, example_input=(1, 3, 2, 2), bins=EqualBins(16), min_ratio=0, divisor=divisor, verify=False)
    return list(space.choices.values())


def test_a_number_for_all_or_for_some():
    assert choices(8) == [(8, 16), (8, 16, 24, 32, 40, 48)]
    assert choices({'head': 16}) == [tuple(range(1, 17)), (16, 32, 48)]
    assert choices({nn.Conv2d: 4}) == [(4, 8, 12, 16), tuple(range(4, 49, 4))]


def test_several_that_match_all_hold():
    assert choices({'stem': 4, 'side': 8, 'head': 6, nn.Conv2d: 8})[1] == (24, 48)
    assert choices({'stem': 4, 'side': 8})[0] == (8, 16)


@pytest.mark.parametrize(
    ('divisor', 'said'),
    [
        *((value, r'divisor=.* must be a whole number') for value in (0, -1, 1.5, True, '4', None)),
        ({'head': 0}, r"divisor\['head'\]=0 must be a whole number, 1 or more"),
        ({'head': 2.5}, r"divisor\['head'\]=2.5 must be a whole number"),
        ({'tail': 8}, r"divisor: 'tail' matches no layer of the model"),
    ],
)
def test_bad_divisors(divisor, said):
    with pytest.raises(ValueError, match=said):
        choices(divisor)
    if 'tail' not in str(divisor):
        with pytest.raises(ValueError, match=said):
            WidthMutator(divisor=divisor)
