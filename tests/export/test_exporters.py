"""The first of several ways to write a file that agrees."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from nni_cafenet.errors import ExportError
from nni_cafenet.export.compare import Sample
from nni_cafenet.export.exporters import Exporter, checked_path, export_checked
from nni_cafenet.graph.example_input import ExampleInput

SAMPLES = [
    Sample(ExampleInput((1,), {}), [torch.ones(1)], of_example_size=True),
    Sample(ExampleInput((2,), {}), [torch.full((1,), 2.0)], of_example_size=False),
]


def write(text, file):
    file.write_text(text)


def fail(file):
    file.write_text('half a file')
    raise RuntimeError('wrapped\nand advice') from KeyError('first')


def load(file):
    """A file computes the number in it, whatever its input is."""
    return lambda inputs: [torch.tensor([float(file.read_text())])]


def run(tmp_path, *ways, **options):
    return export_checked(ways, tmp_path / 'a.txt', **{'load': load, 'samples': SAMPLES, 'tolerance': 0.1, **options})


EXACT = Exporter('exact', False, partial(write, '1'))
WIDE = Exporter('wide', True, partial(write, '1'))
WRONG = Exporter('wrong', False, partial(write, '3'))
FAILING = Exporter('failing', False, fail)


def test_the_first_that_agrees_is_kept(tmp_path):
    found = run(tmp_path, FAILING, WRONG, EXACT, WRONG)
    assert (found.way, found.any_batch, found.largest_difference, found.size) == ('exact', False, 0, 1)
    assert (tmp_path / 'a.txt').read_text() == '1'
    assert found.failed == (
        "failing: KeyError: 'first'",
        'wrong: its outputs differ from those of the model by 2 of the largest, more than tolerance=0.1',
    )
    assert 'a.txt: 1 bytes, through exact' in str(found)
    assert str(found).endswith('not through ' + found.failed[1])


def test_outputs_that_cannot_be_compared_are_told(tmp_path):
    other = [Sample(ExampleInput((1,), {}), [torch.ones(2)], of_example_size=True)]
    with pytest.raises(
        ExportError, match='exact: its outputs have other shapes, whole numbers or values that are not finite$'
    ):
        run(tmp_path, EXACT, samples=other)


def test_other_batches_count_where_the_file_shall_take_them(tmp_path):
    found = run(tmp_path, WIDE, EXACT)
    assert found.way == 'exact'
    assert found.failed[0].startswith('wide for batches of any size: its outputs differ')


def test_a_larger_tolerance_takes_what_is_further_off(tmp_path):
    assert run(tmp_path, WRONG, tolerance=2).largest_difference == 2


def test_without_a_check_files_are_not_run(tmp_path):
    found = run(tmp_path, WRONG, load=None)
    assert found.largest_difference is None
    assert 'it was not run' in str(found)


def test_if_none_agrees_the_old_file_stays(tmp_path):
    (tmp_path / 'a.txt').write_text('old')
    with pytest.raises(
        ExportError, match=r"a.txt was not written:\n  through failing: KeyError: 'first'\n  through wrong"
    ):
        run(tmp_path, FAILING, WRONG)
    assert (tmp_path / 'a.txt').read_text() == 'old'
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_or_a_bad_tolerance_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match='path must name a file'):
        checked_path(tmp_path, None)
    for tolerance in (-1, float('nan')):
        with pytest.raises(ValueError, match='tolerance=.* must be a finite number, 0 or more'):
            checked_path(tmp_path / 'a', tolerance)
