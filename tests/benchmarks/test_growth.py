import pytest

from zoo.growth import exponent, told


def test_the_exponent_of_a_power():
    assert exponent([1, 10, 100], [3.0, 30.0, 300.0]) == pytest.approx(1)
    assert exponent([2, 4, 8], [4.0, 16.0, 64.0]) == pytest.approx(2)


def test_points_are_told_in_a_line():
    assert told('work', [10, 1000], [0.5, 50.0]) == 'work, exponent 1.00: 10: 0.500 s, 1,000: 50.000 s'
