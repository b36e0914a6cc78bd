"""Prune an Ultralytics YOLO: its own object, trainer and data format before and after; nothing of it is rewritten.

Train (or bring) a YOLO, prune it to a share of its MACs, fine-tune it by its own trainer, and get pruned.pt:
YOLO('pruned.pt') validates, predicts and exports as any other. Without --data the pictures are scenes of
real Fashion-MNIST items with exact boxes, in YOLO's format (Debian: apt-get install dataset-fashion-mnist), or of digits.

    pip install nni-cafenet ultralytics         # Ultralytics is under AGPL-3.0; nni-cafenet neither needs nor contains it
    python examples/prune_yolo.py --output yolo
    python examples/prune_yolo.py --output yolo --model best.pt --data my.yaml --size 640 --budget 60%

All steps in minutes, learning nothing: --scenes 16 --batch 8 --size 64 --epochs 1 --supernet-epochs 1 --finetune-epochs 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault('YOLO_AUTOINSTALL', 'false')  # Ultralytics installs nothing by itself

import torch
from torch import nn
from torch.utils.data import DataLoader

from nni_cafenet import Evolution, prune, register_layer
from nni_cafenet.testing import real_classes, real_scenes, write_yolo


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--output', type=Path, default=Path('pruned-yolo'), help='folder of all files (default: %(default)s)')
    add(
        '--model', default='yolov8n.yaml', help='a trained .pt, or a .yaml to train from scratch (default: %(default)s)'
    )
    add('--data', type=Path, help="a data set's .yaml (default: scenes of Fashion-MNIST, made here)")
    add(
        '--scenes', type=int, default=1000, help='training scenes made here; a quarter more to validate (default: 1000)'
    )
    add('--size', type=int, default=128, help='pixels of a picture, a multiple of 32 (default: %(default)s)')
    add('--budget', default='50%', help="what the pruned model may cost in MACs: '50%%', '100M' (default: 50%%)")
    add('--epochs', type=int, default=20, help='epochs of a .yaml model before pruning (default: %(default)s)')
    add('--supernet-epochs', type=int, default=2, help='epochs of the supernet (default: %(default)s)')
    add(
        '--finetune-epochs', type=int, default=10, help="epochs of Ultralytics' trainer after it (default: %(default)s)"
    )
    add('--batch', type=int, default=16, help='batch size (default: %(default)s)')
    add('--device', default='cpu', help="device of Ultralytics' trainer (default: %(default)s)")
    add('--seed', type=int, default=0, help='seed of everything (default: %(default)s)')
    options = parser.parse_args(arguments)
    if importlib.util.find_spec('ultralytics') is None:
        parser.error('ultralytics is not installed: pip install ultralytics (AGPL-3.0).')
    if options.size < 32 or options.size % 32:
        parser.error(f'--size {options.size} must be a multiple of 32.')
    for name in ('scenes', 'epochs', 'supernet_epochs', 'finetune_epochs', 'batch'):
        if getattr(options, name) < 1:
            parser.error(f'--{name.replace("_", "-")} {getattr(options, name)} must be 1 or more.')
    return options


def made_data(folder: Path, count: int, size: int) -> Path:
    """Write scenes in YOLO's format, unless they are there; training and validation show different items."""
    if (folder / 'data.yaml').exists():
        return folder / 'data.yaml'
    splits = {
        'train': real_scenes('train', count, size=size),
        'val': real_scenes('test', max(4, count // 4), size=size, seed=1),
    }
    return write_yolo(folder, splits, real_classes())


# --- pruning --------------------------------------------------------------------------------------


def loader_of(split: str, data: dict, options: argparse.Namespace) -> DataLoader:
    """Return batches of a data set of Ultralytics as `prune` takes them: (pictures, boxes and classes)."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset

    settings = get_cfg(overrides={'imgsz': options.size, 'task': 'detect', 'rect': False})
    dataset = build_yolo_dataset(settings, data[split], options.batch, data, mode='val', rect=False, stride=32)

    def collate(samples):
        batch = dataset.collate_fn(samples)
        return batch['img'].float() / 255, {name: batch[name] for name in ('batch_idx', 'cls', 'bboxes')}

    return DataLoader(dataset, options.batch, shuffle=split == 'train', collate_fn=collate)


def boxes_and_scores(output):
    """Return the outputs whose sizes count, in both modes; the maps beside them may have any width."""
    found = output[1] if isinstance(output, tuple) else output
    return found['boxes'], found['scores']


def pruned(model: nn.Module, data: dict, options: argparse.Namespace) -> nn.Module:
    """Return a smaller model of the same classes, with the weights that it inherits."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.modules import C2f

    register_layer(C2f, sizes={'c': ('cv1.conv.weight', 0)})  # only the forward of an export reads it
    model.args = get_cfg()  # the weights of the three losses
    criterion = model.init_criterion()

    def loss(output, target):
        return criterion(output, target)[0].sum() / len(target['batch_idx'].unique())

    return prune(
        model,
        options.budget,
        example_input=(1, 3, options.size, options.size),
        outputs=boxes_and_scores,
        loss=loss,
        train=loader_of('train', data, options),
        validate=loader_of('val', data, options),
        epochs=options.supernet_epochs,
        finetune_epochs=0,  # Ultralytics' trainer does that
        search=Evolution(population=12, generations=2),
        distill=False,
        seed=options.seed,
        directory=options.output / 'pruned',
    ).model


def trainer_of(model: nn.Module) -> type:
    """Return Ultralytics' trainer, which trains this model instead of a new one made from a .yaml."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    class SlimTrainer(DetectionTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            return model.requires_grad_(True)

    return SlimTrainer


def main() -> None:
    options = options_of()
    from ultralytics import YOLO
    from ultralytics.data.utils import check_det_dataset

    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    try:
        file = options.data or made_data(
            options.output.absolute() / f'data-{options.scenes}-{options.size}', options.scenes, options.size
        )
    except (OSError, ValueError) as error:
        sys.exit(f'{error}\nOr give --data, a .yaml of your own.')
    shared = {
        **{
            'data': str(file),
            'imgsz': options.size,
            'batch': options.batch,
            'device': options.device,
            'seed': options.seed,
        },
        **{'project': str(options.output.absolute()), 'exist_ok': True, 'amp': False, 'plots': False, 'workers': 0},
    }
    yolo = YOLO(options.model)
    if options.model.endswith('.yaml'):
        yolo.train(epochs=options.epochs, name='full', pretrained=False, **shared)
        yolo = YOLO(yolo.trainer.best)
    validate = {key: shared[key] for key in ('data', 'imgsz', 'device', 'project', 'plots', 'workers')}
    before = yolo.val(name='val-full', exist_ok=True, **validate)
    full_parameters = sum(parameter.numel() for parameter in yolo.model.parameters())

    slim = pruned(YOLO(yolo.ckpt_path).model.float().requires_grad_(True), check_det_dataset(str(file)), options)
    yolo.train(trainer=trainer_of(slim), epochs=options.finetune_epochs, name='slim', **shared)
    made = options.output / 'pruned.pt'
    shutil.copy(yolo.trainer.best, made)

    yolo = YOLO(made)  # as any other from here on
    after = yolo.val(name='val-slim', exist_ok=True, **validate)
    parameters = sum(parameter.numel() for parameter in yolo.model.parameters())
    exported = yolo.export(format='onnx', imgsz=options.size, simplify=False)
    print('\n| model | parameters | mAP 50 | mAP 50-95 |\n|---|---|---|---|')
    for name, count, found in (('full', full_parameters, before), ('pruned', parameters, after)):
        print(f'| {name} | {count:,} | {found.box.map50:.3f} | {found.box.map:.3f} |')
    print(f'\n{made}, {exported}')


if __name__ == '__main__':
    main()
