"""Does the search find better widths than uniform scaling? A proof on real pictures, with its rivals and controls.

For every supernet seed, with the package's defaults and through its front door (`CafeNet` in a `NasExperiment`):

1. Train a supernet, search widths within the MACs of the uniform network on held-out training pictures.
2. Train the winner, the uniform network, a random network of the budget and the winner of the equal-compute rival from
   scratch, by one recipe and the same training seeds. Other supernet seeds have other training seeds, so that the paired
   differences to uniform are independent.
3. Report the mean difference of test accuracy, its 95 % t-interval over supernet seeds, and how many are above 0. Test
   pictures are seen by this table alone.

The rival has no supernet: it trains random widths of the budget (the uniform ones among them) for a quarter of the
steps, the best third of them anew for half, the best third of those for all, and takes the lowest held-out loss. It
starts with as many networks as give it the processor time of the supernet's training and search on this machine.

Cases: `front-heavy`, a network that is too wide early and too narrow late; `well-shaped`, a control with little to
find; `over-trained`, the front-heavy network with a supernet that knows its training pictures, where scores at
temperature 1 fail; `mobile`, a larger case: a MobileNetV2 for 28 x 28 pixels with half of its channels, at a quarter of
its MACs, with half as many steps more and the package's bins; `ranking`, how well scores order networks of equal MACs
(Kendall tau) for several sharings; `peers`, the front-heavy network's widths by NNI's RandomOneShot, Torch-Pruning and
NVIDIA ModelOpt (those that are installed) after as many steps of training as the supernet has; `budgets`, one supernet
for five budgets of MACs and one of latency, against the rival for each of them at the same processor time in all. The
rows "ranked at T" take the best of the same scored widths by the score at temperature T.

Everything runs on the CPU. Results are kept as they come: a run that was killed continues when the same command is given
again. In the output folder: better_widths.md (what is printed), results.json (the numbers behind it), searches.jsonl and
trainings.jsonl (the raw records).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch

from nni_cafenet.testing import FASHION_MNIST_FOLDER
from nni_cafenet.utils.files import write_text
from proof.budgets import Budgets
from proof.case import Case
from proof.networks import Mobile, Staged, parse_stages
from proof.peers import Peers
from proof.ranking import Ranking
from proof.task import Task

FRONT_HEAVY = '32-32,16-16-16,12-12-12'
WELL_SHAPED = '10-10,20-20-20,40-40-40'
CASES = {
    'front-heavy': Case,
    'well-shaped': Case,
    'over-trained': Case,
    'mobile': Case,
    'ranking': Ranking,
    'peers': Peers,
    'budgets': Budgets,
}


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings('ignore')
    folder: Path = options.output
    for name in options.case:
        case = CASES[name](make_task(options, name), options, folder / name)
        case.run()
        text = case.report()
        write_text(case.folder / 'better_widths.md', f'{text}\n')
        print(f'{text}\n')


def parse_arguments() -> argparse.Namespace:
    class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        pass

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Formatter, allow_abbrev=False)
    add = parser.add_argument
    add('--case', nargs='+', choices=tuple(CASES), default=['front-heavy'], help='what is searched')
    add('--supernet-seeds', type=int, default=8, help='supernets, each with a search; 2 or more')
    add('--training-seeds', type=int, default=4, help='trainings from scratch of each network')
    add('--widths', type=int, default=300, help='widths that a search scores, a multiple of 10')
    add(
        '--steps',
        type=int,
        default=None,
        help='steps of a training from scratch, 500 (mobile: 750) unless given; a supernet has three times as many',
    )
    add('--network', type=parse_stages, default=None, help='another network: widths of stages such as ' + FRONT_HEAVY)
    add(
        '--ratio',
        type=float,
        default=None,
        help="uniform network's share of every width, 17/32 unless given (mobile: of the "
        'MACs, 1/4); its MACs are the budget',
    )
    add('--size', type=int, default=None, help='height and width of the pictures, 14 unless given (mobile: 28)')
    add('--data', type=Path, default=FASHION_MNIST_FOLDER, help='folder of Fashion-MNIST')
    add(
        '--rivals',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='the equal-compute rival, where there is one',
    )
    add('--ranked', type=int, default=46, help='networks that are put in order, for the case ranking')
    add('--ranked-seeds', type=int, default=2, help='trainings of each of them; 2 or more')
    add('--threads', type=int, default=1, help="torch's threads")
    add('--output', type=Path, default=Path('better_widths'), help='folder for results; a run there is continued')
    options = parser.parse_args()
    least = {'supernet_seeds': 2, 'training_seeds': 1, 'widths': 20, 'steps': 4, 'size': 4, 'threads': 1}
    least.update(ranked=4, ranked_seeds=2)
    for name, value in least.items():
        if getattr(options, name) is not None and getattr(options, name) < value:
            parser.error(f'--{name.replace("_", "-")} {getattr(options, name)}: give {value} or more')
    if options.ratio is not None and not 0 < options.ratio < 1:
        parser.error(f'--ratio {options.ratio}: give a share between 0 and 1')
    return options


def make_task(options: argparse.Namespace, name: str) -> Task:
    """Make the task of a case."""
    mobile = name == 'mobile'
    default = WELL_SHAPED if name == 'well-shaped' else FRONT_HEAVY
    network = Mobile() if mobile else Staged(options.network or parse_stages(default))
    steps = options.steps or (750 if mobile else 500)
    over = name == 'over-trained'
    return Task(
        name,
        network,
        options.ratio or (1 / 4 if mobile else 17 / 32),
        options.data,
        size=options.size or (28 if mobile else 14),
        steps=steps,
        supernet_steps=(6 if over else 3) * steps,
        supernet_images=1_000 if over else 0,
    )


if __name__ == '__main__':
    main()
