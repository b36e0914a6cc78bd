"""Records of options: one default, one range and one help text for functions, files and the command line."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

import nni_cafenet
from nni_cafenet.cli.config import FIELDS
from nni_cafenet.options import (
    DataOptions,
    FinalistOptions,
    RecipeOptions,
    Record,
    ScoreOptions,
    SearchOptions,
    SpaceOptions,
    SupernetOptions,
    TrainingRecipe,
    option,
    whole_number,
)
from nni_cafenet.options.kinds import number_between

RECORDS = (
    SupernetOptions,
    ScoreOptions,
    SearchOptions,
    FinalistOptions,
    RecipeOptions,
    TrainingRecipe,
    DataOptions,
    SpaceOptions,
)
FUNCTIONS = {
    nni_cafenet.CafeNet: (SupernetOptions, ScoreOptions, FinalistOptions),
    nni_cafenet.ShortTrainings: (SearchOptions, ScoreOptions, FinalistOptions, SupernetOptions),
    nni_cafenet.Evolution: (SearchOptions,),
    nni_cafenet.prune: (RecipeOptions, SupernetOptions, ScoreOptions, FinalistOptions, SpaceOptions),
}
OTHERWISE = {
    *((nni_cafenet.prune, name) for name in ('bins', 'optimizer')),  # objects; the command line has texts
    (nni_cafenet.prune, 'epochs'),  # None: that of the record, or 0 with a knapsack
    (nni_cafenet.Evolution, 'floor'),  # 0.8: of a generation, not of random widths
}
OPTIONS = [(record, each) for record in RECORDS for each in record.options()]


@pytest.mark.parametrize('function', FUNCTIONS)
def test_functions_have_the_defaults_of_the_records(function):
    parameters = inspect.signature(function).parameters
    checked = set()
    for record in FUNCTIONS[function]:
        for each in record.options():
            if each.argument not in parameters or each.argument in checked or (function, each.argument) in OTHERWISE:
                continue
            checked.add(each.argument)
            assert parameters[each.argument].default == each.default, each.argument
    assert checked


def test_fields_have_the_kinds_and_the_help_of_the_records():
    known = {id(each.kind): each for _, each in OPTIONS}
    found = [field for field in FIELDS if id(field.kind) in known]
    assert len(found) == 38 + len(TrainingRecipe.options())
    for field in found:
        each = known[id(field.kind)]
        assert (field.help, field.default) == (each.help, each.default)


@pytest.mark.parametrize(('record', 'each'), OPTIONS, ids=lambda value: getattr(value, 'name', ''))
def test_defaults_are_allowed_and_help_is_a_phrase(record, each):
    assert record.check(each.name, each.default) == each.default
    assert re.fullmatch(r'([a-z]|SMALLEST).*[^.]', each.help)
    with pytest.raises((ValueError, TypeError), match=f'^{each.argument}=<object .* must be {each.kind.allowed[:12]}'):
        record.check(each.name, object())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Small(Record):
    number: int = option(1, whole_number(1), 'a number', argument='how_many')
    share: float | None = option(None, number_between(0, 1, open=True).or_none(), 'a share')
    other: object = None


def test_a_record_converts_and_refuses():
    np = pytest.importorskip('numpy')
    made = Small(number=np.int64(3), share=np.float32(0.5), other='anything')
    assert (type(made.number), made.share, made.other) == (int, 0.5, 'anything')
    with pytest.raises(ValueError, match=r'^how_many=0 must be a whole number, 1 or more\.$'):
        Small(number=0)
    with pytest.raises(ValueError, match=r'^share=1 must be a number between 0 and 1, or None\.$'):
        Small(share=1)
    assert [(each.name, each.argument, each.default) for each in Small.options()] == [
        ('number', 'how_many', 1),
        ('share', 'share', None),
    ]
