"""A whole CafeNet run as trials, to be watched in NNI's web UI: handwritten digits, a few minutes on two cores.

    python examples/web_ui.py --port 8080

Then open the address that is printed ("Web portal") in a browser. One trial trains the supernet, some score widths side by
side, which show as trials that have ended, and the best widths and a uniformly scaled network of the same cost are each
trained in a trial of their own. ``--model efficientnet_b0``, or another network of torchvision, takes half an hour.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: as many trials as cores, a thread each

import torch
import torchvision
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment, NasExperimentConfig
from torch.utils.data import TensorDataset

from nni_cafenet import CafeNet, Evolution, WidthMutator, traced
from nni_cafenet.testing import SmallResNet, digits

STATE = 'experiment-id.txt'


def main() -> None:
    options = parse()
    torch.manual_seed(options.seed)
    if options.model is None:
        space = WidthMutator().mutate(SmallResNet, example_input=(1, 1, 8, 8))
        data = traced(digits)  # a trial is sent this call, not the images
    else:
        space = WidthMutator().mutate(
            getattr(torchvision.models, options.model), num_classes=10, example_input=(1, 3, 32, 32)
        )
        data = traced(large_digits)
    evaluator = Classification(
        num_classes=10,
        learning_rate=0.005,
        train_dataloaders=DataLoader(data('train'), batch_size=64, shuffle=True),
        val_dataloaders=DataLoader(data('test'), batch_size=300),
        max_epochs=options.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    strategy = CafeNet(
        options.budget,
        search=Evolution(population=10, generations=options.generations),
        finalists=options.finalists,
        seed=options.seed,
    )
    config = NasExperimentConfig('ts', 'simplified', 'local')
    config.experiment_name = 'CafeNet on handwritten digits'
    config.trial_concurrency = options.workers
    config.experiment_working_directory = options.output

    state = options.output / STATE
    resumed = options.resume and state.exists()
    experiment = NasExperiment(space, evaluator, strategy, config, id=state.read_text() if resumed else None)
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(experiment.id)
    (experiment.resume if resumed else experiment.run)(options.port)
    if strategy.finished:
        print(strategy.report())
        print(f'The run is in {strategy.directory}.')
        if options.keep_open:
            wait(f'http://localhost:{options.port}/{experiment.url_prefix} stays open. Ctrl-C ends it.')
    else:
        print(f'Not finished. The same command with --resume continues; the run is in {strategy.directory}.')
    experiment.stop()


def large_digits(split: str) -> TensorDataset:
    """Return 500 digits as color images of 32 x 32 pixels."""
    images, labels = (tensor[:500] for tensor in digits(split).tensors)
    return TensorDataset(torch.nn.functional.interpolate(images.expand(-1, 3, -1, -1), scale_factor=4.0), labels)


def wait(message: str) -> None:
    print(message)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        pass


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, default=8080, help='port of the web UI (default: 8080)')
    parser.add_argument('--keep-open', action='store_true', help='keep the web UI open at the end, until Ctrl-C')
    parser.add_argument('--resume', action='store_true', help='go on with the last run in the output folder')
    parser.add_argument(
        '--output', type=Path, default=Path('web-ui-runs'), help='folder of the experiments (default: ./web-ui-runs)'
    )
    parser.add_argument('--workers', type=int, default=2, help='trials side by side (default: 2)')
    parser.add_argument(
        '--budget', default='50%', help="MACs of the searched networks (default: '50%%' of the full one)"
    )
    parser.add_argument(
        '--epochs', type=int, default=8, help='epochs of the supernet and of each finalist (default: 8)'
    )
    parser.add_argument('--generations', type=int, default=6, help='generations of 10 widths (default: 6)')
    parser.add_argument('--finalists', type=int, default=3, help='widths trained at the end (default: 3)')
    parser.add_argument(
        '--model', help='a network of torchvision, on larger images (default: a small residual network)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of everything (default: 0)')
    options = parser.parse_args()
    options.output = options.output.resolve()
    return options


if __name__ == '__main__':
    main()
