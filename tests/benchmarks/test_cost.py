import json

import pytest
import torchvision

import cost
from nni_cafenet import WidthSpace


@pytest.fixture
def small(tmp_path):
    return [
        *('--models', 'mobilenet_v2', '--widths', '3000', '--peer-widths', '3', '--samples', '30', '--budgets', '50'),
        *('--peer-seconds', '0.05', '--groups', '2', '4', '--counts', '5', '10', '--rounds', '1'),
        *('--output', str(tmp_path / 'out')),
    ]


def test_costs_and_sampling_beside_peers(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost, '_ModelOpt', lambda name, space: (_ for _ in ()).throw(ImportError('not here')))
    cost.main(small)
    result = json.loads((tmp_path / 'out' / 'cost.json').read_text())
    numbers = result['models']['mobilenet_v2']
    assert numbers['groups'] == 25
    assert {side: found['widths'] for side, found in numbers['costs'].items() if side != 'ModelOpt'} == {
        'ours': 3000,
        'NNI': 3,
    }
    assert numbers['costs']['ModelOpt'] == 'ImportError: not here'
    assert numbers['sampling']['50']['ours']['found'] == 30
    assert set(result['growth']) == {'groups', 'widths'}
    page = (tmp_path / 'out' / 'cost.md').read_text()
    assert page.strip() in capsys.readouterr().out
    assert '-: ModelOpt, mobilenet_v2: ImportError: not here' in page
    assert 'sampling by groups, exponent' in page


def test_the_space_of_nni_costs_what_ours_does():
    space = WidthSpace(torchvision.models.resnet50, example_input=(1, 3, 224, 224), verify=False)
    side = cost._Nni('resnet50', space)
    for ratio in (0.3, 0.7, 1.0):
        widths = space.uniform_widths(ratio)
        assert side.cost(widths) == (space.macs(widths), space.params(widths))


def test_a_network_that_nni_cannot_count_has_a_reason():
    with pytest.raises(ValueError, match='know no layers'):
        cost._Nni('swin_t', None)
