"""Pictures in shards and in data sets of Hugging Face: shared out among ranks, and a run that was killed and resumed."""

from __future__ import annotations

import io
import tarfile
from functools import partial

import numpy as np
import pytest
import torch
from helpers.crashes import Crash, crash_at
from PIL import Image

from nni_cafenet.cli import main
from nni_cafenet.cli.data import DataRequest, load_data
from nni_cafenet.cli.data.pixels import Pixels
from nni_cafenet.ranks import rank_loader
from nni_cafenet.supernet import read_checkpoint
from nni_cafenet.supernet.checkpoint import SaveEveryEpoch
from nni_cafenet.utils.json_records import read_records

PARTS = {'train': range(48), 'val': range(48, 60)}
NET = """
from torch import nn

def net(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )
"""


def picture(number: int) -> Image.Image:
    """A picture of one color, which tells its number."""
    return Image.fromarray(np.full((20, 20, 3), 4 * number, dtype=np.uint8))


def shards(folder):
    folder.mkdir()
    for part, numbers in PARTS.items():
        for index, some in enumerate((numbers[::2], numbers[1::2])):
            with tarfile.open(folder / f'{part}-{index:03d}.tar', 'w') as tar:
                for number in some:
                    file = io.BytesIO()
                    picture(number).save(file, 'PNG')
                    for name, content in ((f'{number}.png', file.getvalue()), (f'{number}.cls', b'%d' % (number % 3))):
                        entry = tarfile.TarInfo(name)
                        entry.size = len(content)
                        tar.addfile(entry, io.BytesIO(content))
    return f'webdataset:{folder}'


def hub(folder):
    datasets = pytest.importorskip('datasets')
    datasets.disable_progress_bars()
    features = datasets.Features({'image': datasets.Image(), 'label': datasets.ClassLabel(names=['cat', 'dog', 'emu'])})
    parts = {
        'validation' if part == 'val' else part: datasets.Dataset.from_dict(
            {'image': [picture(number) for number in numbers], 'label': [number % 3 for number in numbers]}, features
        )
        for part, numbers in PARTS.items()
    }
    datasets.DatasetDict(parts).save_to_disk(str(folder))
    return f'datasets:{folder}'


WRITERS = {'webdataset': shards, 'datasets': hub}


@pytest.fixture(params=WRITERS)
def source(request, tmp_path):
    return WRITERS[request.param](tmp_path / 'data')


def numbers_of(images) -> list[int]:
    return [round(float(image[0, 0, 0] * 0.229 + 0.485) * 255 / 4) for image in images]


@pytest.mark.parametrize('ranks', [2, 3])
def test_ranks_have_disjoint_shares_of_the_batches_of_one_process(source, ranks):
    def batches(share=lambda loader: loader):
        torch.manual_seed(0)  # each process of a run starts like this
        loader = share(load_data(DataRequest(source, Pixels.of((3, 20, 20)), batch_size=12)).train)
        return [numbers_of(images) for images, _ in loader]

    whole = batches()
    assert sorted(sum(whole, [])) == list(PARTS['train'])
    shares = [batches(partial(rank_loader, rank=rank, ranks=ranks, together=False)) for rank in range(ranks)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(sum(parts, [])) == sorted(batch)  # each sample is in one share
        assert max(map(len, parts)) == len(batch) // ranks


@pytest.mark.parametrize('saves', [2, 5], ids=['supernet', 'finalist'])
def test_a_run_that_was_killed_and_resumed_ends_as_one_that_never_was(source, tmp_path, monkeypatch, saves):
    code = tmp_path / 'nets.py'
    code.write_text(NET)
    options = '--batch-size 12 --epochs 3 --finetune-epochs 3 --population 3 --generations 1 --finalists 1 --headroom 0'
    more = '--statistics-batches 1 --no-baseline --workers 0 --device cpu --min-ratio 0.25 --bins 1:4 --lr 0.01'

    def run(folder):
        names = ['--model', f'{code}:net', '--data', source, '--input', '1', '3', '16', '16']
        assert main(['search', *names, *options.split(), *more.split(), '--output', str(folder)]) == 0

    run(tmp_path / 'whole')
    with monkeypatch.context() as patch:
        patch.setattr(SaveEveryEpoch, '_save', crash_at(saves, SaveEveryEpoch._save))
        with pytest.raises(Crash):
            run(tmp_path / 'killed')
    run(tmp_path / 'killed')
    whole, killed = (tmp_path / name for name in ('whole', 'killed'))
    assert read_records(whole / 'history.jsonl', remedy='') == read_records(killed / 'history.jsonl', remedy='')
    there, now = (read_checkpoint(folder / 'supernet.ckpt')['state_dict'] for folder in (whole, killed))
    torch.testing.assert_close(there, now, rtol=0, atol=0)
    there, now = (torch.load(folder / 'slim.pt') for folder in (whole, killed))
    torch.testing.assert_close(there, now, rtol=0, atol=0)
