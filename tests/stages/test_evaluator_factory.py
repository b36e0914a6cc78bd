from __future__ import annotations

import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet.stages.evaluator_factory import EvaluatorFactory


class User(LightningModule):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3))
        self.steps = []

    def training_step(self, batch, batch_idx):
        self.steps.append(batch[0].flatten().tolist())
        return self.model(batch[0]).sum() + self.weights.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def evaluator(**fit):
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(torch.arange(8.0)[:, None]), batch_size=4, shuffle=True, generator=generator)
    options = dict.fromkeys(('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary'), False)
    trainer = Trainer(accelerator='cpu', max_epochs=2, callbacks=[EarlyStopping('x', strict=False)], **options)
    return Lightning(User(), trainer, train_dataloaders=loader, fit_kwargs=fit)


def test_each_one_is_as_the_evaluator_was_at_first():
    given = evaluator()
    evaluators = EvaluatorFactory(given)
    given.module.steps.append('used')
    given.module.weights.data.fill_(7)
    seen = []
    for _ in range(2):
        fresh = evaluators.make()
        assert fresh.module is not given.module
        assert fresh.module.weights.tolist() == [0, 0, 0]
        assert fresh.module.steps == []
        fresh.evaluate(nn.Linear(1, 1, bias=False))
        assert fresh.trainer.current_epoch == 2
        assert fresh.module.weights.tolist() != [0, 0, 0]
        seen.append(fresh.module.steps)
    assert seen[0] == seen[1]  # the generator of the loader, too, is as it was
    assert len(seen[0]) == 4
    assert given.module.steps == ['used']


def test_trainers_are_made_with_the_same_settings_but_share_nothing():
    given = evaluator()
    evaluators = EvaluatorFactory(given)
    first, second = evaluators.make(), evaluators.make()
    assert first.trainer.max_epochs == second.trainer.max_epochs == 2
    assert first.trainer is not second.trainer
    stops = [
        next(callback for callback in each.trainer.callbacks if isinstance(callback, EarlyStopping))
        for each in (first, second, given)
    ]
    assert len({id(stop) for stop in stops}) == 3
    assert {stop.monitor for stop in stops} == {'x'}


def test_data_are_shared_and_options_copied():
    given = evaluator(ckpt_path=None)
    first, second = EvaluatorFactory(given).make(), EvaluatorFactory(given).make()
    assert first.train_dataloaders is second.train_dataloaders is given.train_dataloaders
    first.fit_kwargs['ckpt_path'] = 'mine'
    assert second.fit_kwargs == given.fit_kwargs == {'ckpt_path': None}
