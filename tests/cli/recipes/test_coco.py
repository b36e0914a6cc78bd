"""The recipes for COCO, on small detectors of the same classes and scenes of real items."""

from __future__ import annotations

import json

import pytest
from helpers import detectors

from nni_cafenet import cli
from nni_cafenet.testing import real_scenes, write_coco

RECIPES = {
    'retinanet': 'coco/retinanet_resnet50_fpn-50%',
    'fasterrcnn': 'coco/fasterrcnn_resnet50_fpn-50%',
    'ssd': 'coco/ssdlite320_mobilenet_v3_large-50%',
}
SIDE = '48'


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    splits = {
        'train': real_scenes('test', 20, size=48, items=(1, 3)),
        'val': real_scenes('test', 6, size=48, items=(1, 3), seed=1),
    }
    return write_coco(tmp_path_factory.mktemp('coco'), splits, [str(number) for number in range(10)])


@pytest.mark.parametrize('name', RECIPES)
def test_all_stages(home, tmp_path, capsys, name):
    output = tmp_path / 'run'
    command = ['search', '--recipe', RECIPES[name], '--data', f'coco:{home}', '--output', str(output)]
    command += ['--model', f'{detectors.__file__}:{name}', '--input', '1', '3', SIDE, SIDE, '--device', 'cpu']
    command += ['--fraction', '0.001', '--workers', '0', '--set', 'data.batch_size=4', 'search.holdout=0.2']
    assert cli.main([*command, 'space.bins=1:4', 'training.lr=0.01']) == 0
    report = json.loads((output / 'report.json').read_text())
    assert (report['score'], report['metric']) == ('loss', 'val_map')
    assert all(0 <= network['finetuned'] <= 1 for network in report['networks'])
    assert {network['role'] for network in report['networks']} == {'full', 'baseline', 'pruned'}
    capsys.readouterr()
    assert cli.main(['compare', str(output)]) == 0
    out = capsys.readouterr().out
    assert ' val_map ' in out
    assert f'Published for {RECIPES[name]} (box mAP, %):' in out
    assert cli.main([*command, 'space.bins=1:4', 'training.lr=0.01']) == 0  # finished: nothing is trained again


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (['--model', 'resnet18', '--set', 'model.input=null'], 'its inputs are not tensors, so their size is unknown'),
        (
            ['--model', 'resnet18'],
            "loss='model': ResNet gives no losses for the inputs and the target of the first batch",
        ),
        (['--model', 'ssdlite320_mobilenet_v3_large'], 'resizes every picture to 320 x 320, but --input says 48 x 48'),
        (['--classes', '5'], 'the first batch of validate (IndexError'),
    ],
)
def test_models_that_do_not_fit(home, tmp_path, capsys, words, says):
    command = ['search', '--recipe', RECIPES['retinanet'], '--data', f'coco:{home}', '--output', str(tmp_path / 'run')]
    assert cli.main([*command, '--input', '1', '3', SIDE, SIDE, '--device', 'cpu', '--workers', '0', *words]) == 2
    assert says in capsys.readouterr().err
