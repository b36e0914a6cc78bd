from __future__ import annotations

import re

import pytest
from torch import nn

from nni_cafenet.analysis.analyze import analyze_model
from nni_cafenet.graph.example_input import ExampleInput


@pytest.fixture
def pick(wired):
    """``pick(include=..., exclude=...)``: what may change of stem 4, body.first 5, body.second (tied to stem), top 6."""

    def body(net, x):
        return x + net.second(net.first(x))

    model = wired(
        lambda net, x: net.head(net.top(net.body(net.stem(x)))),
        stem=nn.Conv2d(3, 4, 1),
        body=wired(body, first=nn.Conv2d(4, 5, 1), second=nn.Conv2d(5, 4, 1)),
        top=nn.Conv2d(4, 6, 1),
        head=nn.Linear(2, 2),
    )
    return lambda **options: analyze_model(model, ExampleInput.of((1, 3, 2, 2), model), **options)


class Named(nn.Conv2d):
    pass


def test_everything_may_change_by_default(pick):
    assert pick().labels == ('stem', 'body.first')


@pytest.mark.parametrize(
    ('patterns', 'labels'),
    [
        (['body.first'], ('body.first',)),
        (['stem'], ()),
        (['stem', 'body'], ('stem', 'body.first')),
        (['body'], ('body.first',)),
        (['body.*'], ('body.first',)),
        (['*.first'], ('body.first',)),
        ([re.compile('fir')], ('body.first',)),
        ([re.compile('^stem$'), re.compile(r'second$')], ('stem',)),
        ([nn.Conv2d], ('stem', 'body.first')),
        ((nn.Conv2d,), ('stem', 'body.first')),
    ],
)
def test_include(pick, patterns, labels):
    if labels:
        assert pick(include=patterns).labels == labels
    else:
        with pytest.raises(ValueError, match=r'(?s)no channel group.*does not name body.second'):
            pick(include=patterns)


@pytest.mark.parametrize(
    ('patterns', 'labels'),
    [
        (['body.first'], ('stem',)),
        (['body.second'], ('body.first',)),  # one member is enough
        (['bod'], None),  # no layer has this name
        ([nn.Linear], ('stem', 'body.first')),
        ([re.compile('first|top')], ('stem',)),
        ([], ('stem', 'body.first')),
    ],
)
def test_exclude(pick, patterns, labels):
    if labels is None:
        with pytest.raises(ValueError, match="exclude: 'bod' matches no layer.*Layers are named like stem, body.first"):
            pick(exclude=patterns)
    else:
        assert pick(exclude=patterns).labels == labels


@pytest.fixture
def nested(wired):
    """``nested(exclude=...)``: what may change of conv1, then a.conv1 and a.b.conv1 and a.b.conv2.inner."""

    def chain(*layers):
        return lambda net, x: [x := getattr(net, name)(x) for name in layers][-1]

    conv = nn.Conv2d
    inner = wired(chain('inner'), inner=conv(6, 7, 1))
    b = wired(chain('conv1', 'conv2'), conv1=conv(5, 6, 1), conv2=inner)
    a = wired(chain('only', 'b'), only=conv(4, 5, 1), b=b)
    model = wired(chain('conv3', 'a', 'head'), conv3=conv(3, 4, 1), a=a, head=conv(7, 2, 1))
    return lambda **options: analyze_model(model, ExampleInput.of((1, 3, 2, 2), model), **options).labels


@pytest.mark.parametrize(
    ('pattern', 'labels'),
    [
        ('only', ('a.only',)),
        ('b.conv1', ('a.b.conv1',)),
        ('b', ('a.b.conv1', 'a.b.conv2.inner')),  # a part inside another
        ('conv2', ('a.b.conv2.inner',)),
        ('inner', ('a.b.conv2.inner',)),
        ('a', ('a.only', 'a.b.conv1', 'a.b.conv2.inner')),
    ],
)
def test_the_end_of_a_name(nested, pattern, labels):
    assert nested(include=[pattern]) == labels
    everything = ('conv3', 'a.only', 'a.b.conv1', 'a.b.conv2.inner')
    assert set(nested(exclude=[pattern])) == set(everything).difference(labels)


@pytest.mark.parametrize('pattern', ['onv1', 'conv', 'nly', 'b.only', 'a..b', ''])
def test_a_piece_of_a_name_is_no_end(nested, pattern):
    with pytest.raises(ValueError, match='matches no layer'):
        nested(exclude=[pattern])


def test_a_whole_name_goes_before_the_end_of_others(wired):
    def both(net, x):
        return net.head(net.part.conv(net.conv(x)))

    part = wired(lambda net, x: x, conv=nn.Conv2d(4, 5, 1))
    model = wired(both, conv=nn.Conv2d(3, 4, 1), part=part, head=nn.Conv2d(5, 2, 1))
    example = ExampleInput.of((1, 3, 2, 2), model)
    assert analyze_model(model, example, include=['conv']).labels == ('conv',)
    assert analyze_model(model, example, include=['*conv']).labels == ('conv', 'part.conv')


def test_exclude_wins_and_says_so(pick):
    graph = pick(include=['stem', 'body'], exclude=['body.first'])
    assert graph.labels == ('stem',)
    assert {r.label: r.reason for r in graph.fixed}['body.first'] == 'is excluded (exclude names body.first)'
    graph = pick(include=['body.first'])
    assert {r.label: r.reason for r in graph.fixed}['stem'] == 'is not included (include does not name stem)'


def test_an_empty_include_is_refused(pick):
    with pytest.raises(ValueError, match=r'include=\[\].*use None for all layers'):
        pick(include=[])


@pytest.mark.parametrize('argument', ['include', 'exclude'])
@pytest.mark.parametrize('pattern', ['nothing', re.compile('nothing'), Named])
def test_a_pattern_without_a_match_is_refused(pick, argument, pattern):
    with pytest.raises(ValueError, match=f'{argument}: .* matches no layer of the model'):
        pick(**{argument: ['stem', pattern]})


@pytest.mark.parametrize('argument', ['include', 'exclude'])
@pytest.mark.parametrize('pattern', [3, None, int, nn.ReLU()])
def test_a_pattern_of_another_type_is_refused(pick, argument, pattern):
    with pytest.raises(
        TypeError, match=f'{argument} takes layer names, shell patterns, compiled regular expressions and module class'
    ):
        pick(**{argument: [pattern]})


@pytest.mark.parametrize('argument', ['include', 'exclude'])
@pytest.mark.parametrize('pattern', ['stem', re.compile('stem'), nn.Conv2d])
def test_one_pattern_must_be_a_list(pick, argument, pattern):
    with pytest.raises(TypeError, match=rf'{argument}=.* must be a list: write {argument}=\['):
        pick(**{argument: pattern})
