from __future__ import annotations

import shutil
import warnings
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import TensorDataset

from nni_cafenet.errors import FolderError, UntrustedFileError
from nni_cafenet.supernet.checkpoint import SaveEveryEpoch
from nni_cafenet.supernet.plain_checkpoint import plain, read_checkpoint, restored
from nni_cafenet.utils.torch_files import save_torch

Point = namedtuple('Point', 'x y')

VALUES = {
    'numbers': [1, 2.5, 1j, True, None, b'x'],
    'numpy': (np.float64(0.5), np.int32(7), np.arange(6, dtype=np.uint16).reshape(2, 3), np.array(2.0)),
    'path': Path('a/b'),
    'point': Point(1, 2),
    'types': OrderedDict(dtype=torch.float16, set={1, 2}),
    3: {'nested': (1, [np.float32(1)])},
}


def test_values_of_callbacks_return_as_they_were(tmp_path):
    save_torch(plain({'epoch': 1, 'callbacks': VALUES, 'w': torch.ones(2)}), tmp_path / 'a')
    found = read_checkpoint(tmp_path / 'a')
    assert repr(found['callbacks']) == repr(VALUES)
    assert found['w'].tolist() == [1, 1]
    assert restored(plain({'a': nn.ReLU})) == {'a': nn.ReLU}


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


def test_pickled_objects_that_the_key_did_not_sign_run_no_code(tmp_path, monkeypatch):
    save_torch(plain({'callbacks': Code(tmp_path / 'ran')}), tmp_path / 'a')
    monkeypatch.setenv('NNI_CAFENET_KEY', str(tmp_path / 'other key'))
    with pytest.raises(UntrustedFileError, match='not signed with the key in .*delete it to train that network anew'):
        read_checkpoint(tmp_path / 'a')
    assert not (tmp_path / 'ran').exists()


def test_hyper_parameters_that_are_classes_stay_out(tmp_path):
    kept = plain({'hyper_parameters': {'lr': 0.1, 'loss': nn.CrossEntropyLoss}, 'hparams_type': dict, 'epoch': 1})
    assert kept == {'hyper_parameters': {'lr': 0.1}, 'epoch': 1}


class Keeps(Callback):
    def __init__(self):
        self.value = None

    def state_dict(self):
        return {'value': Point(np.float64(0.5), Path('x'))}

    def load_state_dict(self, state):
        self.value = state['value']


def evaluator(path, epochs, callback):
    data = TensorDataset(torch.randn(40, 3), torch.randint(0, 2, (40,)))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made = Classification(
            num_classes=2,
            max_epochs=epochs,
            train_dataloaders=DataLoader(data, batch_size=20),
            val_dataloaders=DataLoader(data, batch_size=20),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator='cpu',
            callbacks=[callback],
        )
    made.trainer.callbacks.append(SaveEveryEpoch(path))
    return made


@pytest.mark.filterwarnings('ignore')
def test_lightning_takes_up_a_training_of_nnis_own_module(tmp_path):
    path = tmp_path / 'checkpoint.ckpt'
    evaluator(path, 1, Keeps()).evaluate(nn.Linear(3, 2))
    assert torch.load(path, weights_only=True)['global_step'] == 2
    callback = Keeps()
    again = evaluator(path, 2, callback)
    again.fit_kwargs['ckpt_path'] = str(path)
    again.evaluate(nn.Linear(3, 2))
    assert again.trainer.current_epoch == 2
    assert again.trainer.global_step == 4
    assert callback.value == Point(0.5, Path('x'))


def test_other_checkpoints_of_the_trainer_are_left_to_lightning(tmp_path):
    trained = evaluator(tmp_path / 'checkpoint.ckpt', 1, Keeps())
    trained.evaluate(nn.Linear(3, 2))
    trained.trainer.save_checkpoint(tmp_path / 'own.ckpt')
    found = torch.load(tmp_path / 'own.ckpt', weights_only=False)
    assert found['hyper_parameters']['criterion'] is nn.CrossEntropyLoss


class Removes(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            shutil.rmtree(self.folder)


@pytest.mark.filterwarnings('ignore')
def test_a_folder_that_somebody_removes_is_told_at_the_end_of_the_epoch(tmp_path):
    removes = Removes()
    removes.folder = tmp_path / 'run'
    made = evaluator(removes.folder / 'supernet.ckpt', 4, removes)
    with pytest.raises(FolderError, match=r"supernet.ckpt' was removed while the run was using it"):
        made.evaluate(nn.Linear(3, 2))
    assert made.trainer.current_epoch == 1
    assert not removes.folder.exists()
