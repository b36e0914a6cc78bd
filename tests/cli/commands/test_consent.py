"""Code that a file or folder names runs only if the command says yes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml

from nni_cafenet import WidthMutator, cli
from nni_cafenet.testing import SmallResNet
from nni_cafenet.utils.json_records import write_record


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp('network')
    space = WidthMutator(verify=False).mutate(SmallResNet, width=4, example_input=(1, 1, 8, 8))
    space.save_slim(folder, space.full_widths)
    return folder


@pytest.fixture
def received(network, tmp_path, monkeypatch, capsys):
    """``received(**fields)``: the folder of a job that asks for these, as somebody may send it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'received'
    folder.mkdir()
    for file in network.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    write_record(folder / 'run.json', {})
    Path('evil.py').write_text(f'import os\nos.mkdir({str(tmp_path / "ran")!r})\n\n\ndef f(*_, **__):\n    pass\n')

    def make(**fields):
        words = ['--model', 'nni_cafenet.testing:SmallResNet', '--model-args', 'width=4', '--data', 'digits']
        assert cli.main(['prune', *words, '--output', str(folder), '--dry-run']) == 0
        configuration = yaml.safe_load(capsys.readouterr().out)
        for path, value in fields.items():
            section, _, name = path.partition('__')
            configuration[section][name] = value
        model = {'arguments': {'width': 4}, 'input': [1, 1, 8, 8]}
        record = {'format': 1, 'command': 'prune', 'configuration': configuration, 'model': model, 'classes': None}
        write_record(folder / 'job.json', record)
        return folder, configuration

    return make


EXPORT = ['export', 'received', '--torchscript', 'slim.ts']
TRAIN = ['train-slim', 'received', '--epochs', '1']


@pytest.mark.parametrize(
    ('command', 'fields', 'said'),
    [
        (EXPORT, {'model__name': 'os:getcwd'}, "model 'os:getcwd': imports os, calls getcwd"),
        (EXPORT, {'model__name': 'evil.py:f'}, "model 'evil.py:f': runs the file evil.py, calls f"),
        (EXPORT, {'model__name': 'model.pt', 'model__unpickle': True}, "model 'model.pt': loads a pickled object"),
        (
            EXPORT,
            {'model__name': 'nni_cafenet.utils.files:os.getcwd'},
            'imports nni_cafenet.utils.files, calls os.getcwd',
        ),
        (EXPORT, {'model__name': 'nni_cafenet.testing:nn.Module'}, 'imports nni_cafenet.testing, calls nn.Module'),
        (EXPORT, {'model__name': 'torchvision.models._api:inspect.stack'}, 'calls inspect.stack'),
        (TRAIN, {'model__name': 'evil.py:f'}, 'runs the file evil.py'),
        (TRAIN, {'data__source': 'evil.py:f'}, "data 'evil.py:f': runs the file evil.py"),
        (TRAIN, {'training__loss': 'evil:f'}, "loss 'evil:f': imports evil"),
        (TRAIN, {'training__metric': 'evil:f'}, "metric 'evil:f': imports evil"),
    ],
)
def test_code_of_a_folder_is_listed_and_does_not_run(received, tmp_path, capsys, command, fields, said):
    received(**fields)
    torch.save(Code(str(tmp_path / 'ran')), 'model.pt')
    assert cli.main(command) == 2
    text = capsys.readouterr().err
    assert said in text
    assert "'received' asks for code that this command does not name; none of it has run" in text
    assert 'add --trust' in text
    assert not Path('ran').exists()


def test_with_a_yes_it_runs(received):
    received(model__name='evil.py:f')
    assert cli.main([*EXPORT, '--trust']) == 2  # it makes no model
    assert Path('ran').exists()


def test_what_is_typed_is_consent_for_itself(received, capsys):
    received(data__source='evil.py:f', training__loss='evil.py:f')
    assert cli.main([*TRAIN, '--data', 'digits']) == 2
    text = capsys.readouterr().err
    assert "loss 'evil.py:f'" in text
    assert 'data ' not in text.partition('none of it has run')[2]


def test_networks_of_torchvision_and_of_this_package_need_none(received):
    received()
    assert cli.main(EXPORT) == 0


@pytest.mark.parametrize('command', ['prune', 'search'])
def test_a_configuration_is_a_file_too(received, tmp_path, capsys, command):
    _, configuration = received(data__source='evil.py:f', training__metric='evil:f')
    configuration['output'] = 'new'
    Path('job.yaml').write_text(yaml.safe_dump(configuration))
    assert cli.main([command, '--config', 'job.yaml']) == 2
    text = capsys.readouterr().err
    assert "'job.yaml' asks for code" in text
    assert "data 'evil.py:f'" in text
    assert "metric 'evil:f'" in text
    assert not Path('ran').exists()
    assert not Path('new').exists()
    assert cli.main([command, '--config', 'job.yaml', '--trust']) == 2
    assert Path('ran').exists()


def test_a_folder_without_checksums_is_refused(received, capsys):
    folder, _ = received()
    (folder / 'job.json').write_text('{"format": 1}')
    assert cli.main(EXPORT) == 2
    assert 'job.json is damaged (it has no checksum' in capsys.readouterr().err
