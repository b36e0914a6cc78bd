"""What is wrong with a command is told before any long work, with the remedy, and exit status 2."""

from __future__ import annotations

import errno
import os
import sys

import pytest
import torch

from nni_cafenet import cli, save_slim
from nni_cafenet.cli import command_line
from nni_cafenet.cli.commands.failures import status_of
from nni_cafenet.errors import FolderError, TrainingDivergedError


@pytest.fixture(autouse=True)
def _no_long_work(monkeypatch):
    """Fail where a job would begin."""

    def refuse(*args, **kwargs):
        raise AssertionError('long work')

    monkeypatch.setattr('nni_cafenet.cli.jobs.prune_job.prune', refuse)
    monkeypatch.setattr('nni_cafenet.cli.jobs.search_job.run_search_job', refuse)


def refused(words, capsys) -> str:
    assert cli.main(words) == 2
    out, error = capsys.readouterr()
    assert out == ''
    assert 'Traceback' not in error
    return error


@pytest.mark.parametrize(
    ('more', 'says'),
    [
        (['--device', 'cuda:99'], "device='cuda:99'"),
        (['--device', 'tpu'], "device='tpu' must be 'auto', 'cpu', 'cuda'"),
        (['--data', 'imagefolder:missing'], 'missing is not there; check the path'),
        (['--data', 'my_missing:loaders'], "--data: my_missing:loaders: there is no module 'my_missing'"),
        (['--data', 'digits'], 'of shape (1, 8, 8), but --input says (3, 12, 12)'),
        (['--model', 'net.py:nett'], "has no 'nett'; did you mean 'net'?"),
        (['--model', 'missing.py:net'], 'there is no file missing.py'),
        (['--model', 'resnet51'], "did you mean 'resnet50'"),
        (['--model-args', 'widht=3'], "takes no argument 'widht'; did you mean 'width'?"),
        (['--model', 'net.py:plain', '--classes', '3'], 'takes no num_classes, so --classes does not reach it'),
        (['--classes', '4'], 'Only the last layer differs: give the number of classes'),
        (['--model-args', 'width=9'], '0.weight (6, 3, 3, 3), in the model (9, 3, 3, 3)'),
        (['--weights', 'missing.pt'], 'the file is not there; check the path'),
        (['--weights', 'net.py'], 'is damaged, or not a file of torch.save'),
        (['--loss', 'crossentropy'], "loss 'crossentropy': is no loss; give cross_entropy, bce, mse, model or package"),
        (['--metric', 'net.py:nothing'], "has no 'nothing'"),
        (
            ['--input', '1', '1', '12', '12'],
            "model 'net.py:net': does not take an input of the shape (1, 1, 12, 12) (Runtime",
        ),
        (['--output', 'net.py'], 'is a file; name a folder'),
        (['--output', 'photos'], 'is not empty (blue, green, red, ...) and has no run of nni-cafenet'),
        (['--epochs', '-1', '--precision', 'half'], '2 problems\n  --epochs: -1: must be a whole number, 0 or more'),
        (['--save-config', 'missing/a.yaml'], 'there is no folder missing; make it'),
        (['--config', 'missing.yaml'], 'configuration missing.yaml: cannot be read'),
    ],
)
def test_prune(place, job, capsys, more, says):
    error = refused(job('prune', *more), capsys)
    assert says in error.replace(f'{place}/', '')
    assert not (place / 'out').exists()


def test_all_that_is_missing_is_listed_at_once_and_before_torch_is_loaded(place, job, capsys):
    more = ['--weights', 'no.pt', '--data', 'imagefolder:no', '--metric', 'no_such_package:acc', '--output', 'photos']
    error = refused(job('prune', *more, '--epochs', '-1', '--budget', '150%'), capsys)
    for says in (
        '6 problems',
        '--weights: no.pt: the file is not there',
        '--data: imagefolder:no: no is not there',
        "--metric: no_such_package:acc: there is no module 'no_such_package'",
        '--output: photos: is not empty (blue, green, red, ...)',
        '--epochs: -1',
        '--budget: 150%',
    ):
        assert says in error
    assert 'loading torch' not in error


def test_cuda_without_cuda(place, job, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert "finds no CUDA device. Use device='cpu'" in refused(job('prune', '--device', 'cuda'), capsys)


def test_a_model_of_torchvision_without_weights_has_nothing_to_keep(place, job, capsys):
    words = ['prune', '--model', 'resnet18', '--data', 'digits', '--output', 'out']
    assert 'search from fresh weights: nni-cafenet search' in refused(words, capsys)


def test_outputs_that_do_not_fit_the_classes(place, job, capsys):
    words = [*job('search', '--model-args', 'num_classes=7')]
    assert 'has 3 classes, but the model' in refused(words, capsys)
    assert 'has 7 outputs; give --classes 3' in refused(words, capsys)


def test_a_folder_in_which_nothing_was_begun_takes_other_options(place, job, capsys):
    for budget in ('50%', '40%'):
        with pytest.raises(AssertionError, match='long work'):
            _raising(job('prune', '--budget', budget))
        assert [each.name for each in (place / 'out').iterdir()] == ['job.json']


def test_other_options_than_those_of_the_run_are_listed(place, job, capsys):
    with pytest.raises(AssertionError, match='long work'):
        _raising(job('prune'))
    (place / 'out' / 'run.json').write_text('{}')
    lines = refused(job('prune', '--seed', '3', '--no-distill', '--workers', '1'), capsys).splitlines()
    assert lines[-3].endswith('has a run with other options. Give its options to resume it, or another folder:')
    assert lines[-2:] == ['  training.distill: True there, False now', '  seed: 0 there, 3 now']
    assert 'command: prune there, search now' in refused(job('search'), capsys)
    for command in (['export', 'out', '--onnx', 'a.onnx'], ['train-slim', 'out', '--epochs', '1']):
        assert 'the run has not ended; run its command again to resume it' in refused(command, capsys)
    (place / 'out' / 'job.json').write_text('{"format": 1')
    assert 'job.json is damaged' in refused(['train-slim', 'out', '--epochs', '1'], capsys)


@pytest.mark.parametrize('command', ['train-slim', 'export', 'report'])
def test_folders_without_a_run(place, capsys, command):
    more = {'train-slim': ['--epochs', '1'], 'export': ['--onnx', 'a.onnx'], 'report': []}[command]
    assert "'missing': does not exist; give the output folder" in refused([command, 'missing', *more], capsys)


def test_nothing_to_export(place, capsys):
    assert 'nothing to export: give --onnx FILE' in refused(['export', 'out'], capsys)
    assert '--onnx .: is a folder' in refused(['export', 'out', '--onnx', '.'], capsys)


def test_a_configuration_is_printed_and_saved_without_any_work(place, job, capsys):
    assert cli.main(job('prune', '--dry-run', '--save-config', 'job.yaml', '--exclude', '0', '--bins', '2:4')) == 0
    out = capsys.readouterr().out
    lines = out.splitlines(keepends=True)
    shown = ''.join(line for line in lines if not line.startswith('#'))
    assert (place / 'job.yaml').read_text() == shown
    assert '# effective batch size: 8\n' in out
    assert "bins: '2:4'\n" in out or 'bins: 2:4\n' in out
    assert 'budget: 50%\n' in out
    assert cli.main(['prune', '--config', 'job.yaml', '--budget', '300', '--dry-run']) == 0
    assert capsys.readouterr().out == out.replace('budget: 50%', "budget: '300'")


# --- failures -------------------------------------------------------------------------------------


def _caught(raiser) -> Exception:
    try:
        raiser()
    except Exception as error:
        return error
    raise AssertionError


def test_a_full_disk_is_no_bad_input(capsys):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'out/slim.pt')
    wrapped = FolderError('cannot be kept there')
    wrapped.__cause__ = full
    for error in (full, wrapped):
        assert status_of(error) == 1
        assert 'writing out/slim.pt failed: No space left on device; free some space, then run the same command' in (
            capsys.readouterr().err
        )


@pytest.mark.skipif(sys.platform == 'win32', reason='no limits on sizes of files')
def test_a_disk_that_fills_up_leaves_the_old_network_as_it_was(tmp_path, capsys):
    import resource

    save_slim(torch.nn.Linear(64, 64), tmp_path, {'0': 64})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        error = _caught(lambda: save_slim(torch.nn.Linear(64, 64), tmp_path, {'0': 64}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status_of(error) == 1
    assert 'writing failed: File too large; free some space, then run the same command again' in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ('error', 'status', 'says'),
    [
        (TrainingDivergedError('every loss is NaN'), 1, 'every loss is NaN'),
        (FileNotFoundError(2, 'No such file', 'a.pt'), 2, 'a.pt'),
        (MemoryError(), 1, 'give a smaller --batch-size'),
    ],
)
def test_failures_and_bad_input(capsys, error, status, says):
    assert status_of(error) == status
    assert says in capsys.readouterr().err


def test_an_error_of_other_code_is_told_with_its_place(capsys, monkeypatch):
    error = _caught(lambda: int('x'))
    assert status_of(error) == 1
    told = capsys.readouterr().err
    assert 'failed: ValueError: invalid literal for int()' in told
    assert 'test_bad_input.py, line' in told
    assert 'NNI_CAFENET_TRACEBACK=1' in told
    monkeypatch.setenv('NNI_CAFENET_TRACEBACK', '1')
    assert status_of(error) == 1
    assert 'Traceback (most recent call last)' in capsys.readouterr().err


def _raising(words) -> None:
    """Run a command in such a way that what a test raises in it comes out."""
    options = command_line._parser().parse_args(words)
    options.words = words
    options.run(options)
