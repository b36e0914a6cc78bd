"""The script that freezes hashes: equal twice, and what changes is named."""

from __future__ import annotations

import json

import pytest
import torch

from golden import main
from golden_parts import internals, spaces
from golden_parts.hashing import file_fields, hash_json, hash_tensors
from golden_parts.models import make
from nni_cafenet import WidthSpace

GRAPH = ['--parts', 'graphs', '--models', 'squeezenet1_1']


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp('golden') / 'before.json'
    assert main(['--output', str(path), *GRAPH]) == 0
    return path.read_text()


@pytest.fixture
def before(tmp_path, written):
    path = tmp_path / 'before.json'
    path.write_text(written)
    return path


def compared(before, *options):
    return main(['--compare', str(before), *GRAPH, *options])


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    shown = capsys.readouterr().out
    for words in ('--ignore reasons', 'proposals  what the searchers', 'examples:', 'Exit status'):
        assert words in shown


def test_equal_twice_and_a_change_is_named(before, capsys, monkeypatch):
    assert compared(before) == 0
    assert 'Nothing differs.' in capsys.readouterr().out

    fields_of = internals.graph_fields

    def changed(graph, digest):
        fields = fields_of(graph, digest)
        fields['labels'][0] += '_'
        fields['reasons'] = ['an English pass']
        fields['parameters polynomial'][0][1] += 1
        return fields

    monkeypatch.setattr(spaces, 'graph_fields', changed)
    assert compared(before, '--ignore', 'reasons') == 1
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines() if line.startswith('graphs  ')]
    assert rows == [['graphs', 'squeezenet1_1', field] for field in ('labels', 'parameters polynomial')]


def test_a_command_continues_its_own_file_only(before, capsys, monkeypatch):
    content = json.loads(before.read_text())
    (item,) = content['items']['graphs'].values()
    item['fields']['labels'] = 'kept as it is'
    before.write_text(json.dumps(content))
    assert main(['--output', str(before), *GRAPH]) == 0
    assert 'kept as it is' in before.read_text()
    before.write_text(json.dumps({**content, 'code': 'other'}))
    assert main(['--output', str(before), *GRAPH]) == 2
    assert 'written by other code' in capsys.readouterr().err


def test_an_item_that_fails_differs(before, capsys, monkeypatch):
    def fails(name):
        raise KeyError('broken')

    monkeypatch.setattr(spaces, 'make', fails)
    assert compared(before) == 1
    assert "it fails: exit code 1: KeyError: 'broken'" in capsys.readouterr().out


def test_wrong_names_are_told(tmp_path, capsys):
    assert main(['--output', str(tmp_path / 'a'), '--models', 'resnet19']) == 2
    assert main(['--output', str(tmp_path / 'a'), '--items', 'serach']) == 2
    for arguments in ([], ['--compare', str(tmp_path / 'missing')]):
        with pytest.raises(SystemExit):
            main(arguments)
    shown = capsys.readouterr().err
    for words in ("'resnet19' is no model", "'serach' is none", 'give --output FILE', 'there is no file'):
        assert words in shown


def test_a_polynomial_has_one_form():
    factory, example = make('squeezenet1_1')
    graph = WidthSpace(factory, example_input=example, verify=False).graph
    cost = graph.cost
    polynomial = type(cost.macs)(cost.macs.constants[::-1], cost.macs.factors[::-1, ::-1])
    assert internals._polynomial(graph, polynomial) == internals._polynomial(graph, cost.macs)


def test_values_of_files_leave_out_how_code_is_written(tmp_path):
    for name, module, digest in (
        ('a', 'nni_cafenet.run.setup.Thing', '12ab34cd'),
        ('b', 'nni_cafenet.x.Thing', '98fe76dc'),
    ):
        folder = tmp_path / name
        folder.mkdir()
        record = {'class': module, f'full {digest}': 0.5, 'checksum': digest, 'macs': 12345678}
        (folder / 'a.json').write_text(json.dumps(record))
        (folder / 'job.json').write_text(json.dumps({'output': str(folder)}))
        torch.save({name: torch.ones(2), 'class': module}, folder / 'b.pt')
    left, right = file_fields(tmp_path / 'a'), file_fields(tmp_path / 'b')
    assert [name for name in left if left[name] != right[name]] == ['bytes: a.json', 'bytes: b.pt']
    assert left['values: a.json']['macs'] == 12345678
    assert left['values: job.json'] == {'output': 'FOLDER'}
    assert 'bytes: job.json' not in left


def test_hashes_see_order_type_and_sign():
    assert hash_tensors(torch.tensor([0.0])) != hash_tensors(torch.tensor([-0.0]))
    assert hash_tensors(torch.ones(2)) != hash_tensors(torch.ones(1, 2)) != hash_tensors(torch.ones(2).double())
    assert hash_json([1, 2]) != hash_json([2, 1])
    assert hash_json({'a': 1, 'b': 2}) == hash_json({'b': 2, 'a': 1})
