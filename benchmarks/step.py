"""What a step of the supernet costs, beside a step of the real slim network of the same widths.

A step is: choose widths and channel sets, forward in training mode, cross-entropy, backward, and the gradients set to None
before the next; the slim network has its widths. "forward" is the same without gradients. No optimizer: it works on all
weights of the supernet whatever they are. Widths are the full ones, about half and a quarter of each group, and random ones
(other ones every round). "prefix" are the leftmost channels; "locally free" are channel sets with free channels, drawn anew
every round; "plain autograd" slices a prefix dimension by dimension and leaves gradients to autograd, as a supernet is
usually written.

"ModelOpt" and "NNI" are the supernets of NVIDIA ModelOpt (FastNAS) and of NNI's RandomOneShot, where installed, each beside
its own slim network of the same widths: these are other networks and widths than ours, so that only the ratios compare.

Every round times all sides once, in turns, in one process; the median over the rounds of the ratio within a round counts.
16 images are the harsh case: there weights outweigh activations.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from nni_cafenet import LocallyFree, WidthSpace
from nni_cafenet.slicing.module_call import call_with
from nni_cafenet.utils.files import write_json, write_text
from nni_cafenet.utils.tables import as_markdown
from zoo.side_by_side import add_clock_options, machine, ratio, side_by_side
from zoo.step_peers import PEERS, peer_row

MODELS = ('resnet18', 'resnet50', 'mobilenet_v2', 'efficientnet_b0', 'densenet121')
RATIOS = {'full': 1.0, 'half': 0.5, 'quarter': 0.25, 'random': None}
SIDES = ('prefix', 'locally free', 'plain autograd')


class Sides:
    """The networks that are compared, at widths that may change from round to round."""

    def __init__(self, space: WidthSpace, ratio: float | None, images: Tensor, seed: int) -> None:
        self.space = space.train()
        self.ratio = ratio
        self.images = images
        self.labels = torch.arange(len(images), device=images.device)
        self.rng = np.random.default_rng(seed)
        self.slim: nn.Module | None = None
        self.widths: dict[str, int] = {}
        self.channels: dict[str, Tensor] = {}

    def draw(self) -> None:
        """Draw the channel sets of a round, and its widths where they are random."""
        if self.slim is None or self.ratio is None:
            choices = self.space.choices
            self.widths = (
                {label: int(self.rng.choice(widths)) for label, widths in choices.items()}
                if self.ratio is None
                else self.space.uniform_widths(self.ratio)
            )
            self.slim = self.space.slim(self.widths).train()
            self.step('slim')  # operators prepare themselves at the first call of a size
        self.channels = LocallyFree(offset=1).sample_all(self.space.groups, self.widths, self.rng)

    def forward(self, side: str) -> Tensor:
        """Run one side."""
        if side == 'slim':
            return self.slim(self.images)
        self.space.activate(self.widths, self.channels if side == 'locally free' else None)
        if side != 'plain autograd':
            return self.space(self.images)
        full = self.space.full_model
        return call_with(full, self.space.active.slices(full), (self.images,), {})

    def without_gradients(self, side: str) -> None:
        """Run one side without gradients."""
        with torch.no_grad():
            self.forward(side)

    def step(self, side: str) -> None:
        """Run one side, forward and backward."""
        (self.slim if side == 'slim' else self.space).zero_grad(set_to_none=True)
        cross_entropy(self.forward(side), self.labels).backward()


def measure(name: str, images: int, widths: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the row of a model, a batch size and widths: milliseconds and ratios of steps and forwards."""
    torch.manual_seed(options.seed)
    shape = (3, options.size, options.size)
    space = WidthSpace(getattr(torchvision.models, name)(), example_input=(1, *shape)).to(options.device)
    sides = Sides(space, RATIOS[widths], torch.randn(images, *shape, device=options.device), options.seed)
    row: dict[str, Any] = {'model': name, 'images': images, 'widths': widths}
    for what, function in (('step', sides.step), ('forward', sides.without_gradients)):
        calls: dict[str, Callable[[], Any]] = {
            side: (lambda side=side, function=function: function(side)) for side in ('slim', *SIDES)
        }
        seconds = side_by_side(calls, options.rounds, cpu_time=options.cpu_time, before_round=sides.draw)
        row[what] = {side: 1000 * statistics.median(times) for side, times in seconds.items()}
        row[f'{what} ratio'] = {side: ratio(seconds, side, 'slim') for side in SIDES}
    clock = {'seed': options.seed, 'rounds': options.rounds, 'cpu_time': options.cpu_time}
    row['peers'] = {peer: peer_row(peer, name, RATIOS[widths], sides.images, **clock) for peer in PEERS}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--models', nargs='+', default=MODELS, help=f'names in torchvision (default: {" ".join(MODELS)})'
    )
    parser.add_argument('--images', nargs='+', type=int, default=[64, 16], help='batch sizes (default: 64 16)')
    parser.add_argument('--size', type=int, default=64, help='height and width of an image (default: 64)')
    parser.add_argument('--widths', nargs='+', default=list(RATIOS), choices=list(RATIOS))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', default='step', help='folder of the numbers (default: %(default)s)')
    add_clock_options(parser, rounds=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = [
        (name, images, widths) for name in options.models for images in options.images for widths in options.widths
    ]
    rows = []
    for case in tqdm(cases, unit='case'):
        rows.append(measure(*case, options))
        write_json(Path(options.output) / 'step.json', {'machine': machine(options.device), 'rows': rows})
    text = f'{page(rows)}\n\n{machine(options.device)}; {options.size} x {options.size}, {options.rounds} rounds.\n'
    write_text(Path(options.output) / 'step.md', text)
    print(text)


def page(rows: list[dict[str, Any]]) -> str:
    """Return the table, and below it why a peer has no number."""
    headers = ['model', 'images', 'widths', 'slim step']
    headers += [f'{what}, {side}' for what in ('step', 'forward') for side in SIDES]
    headers += [f'step, {peer}' for peer in PEERS]
    cells = [
        [row['model'], row['images'], row['widths'], f'{row["step"]["slim"]:.1f} ms']
        + [f'{row[f"{what} ratio"][side]:.2f}' for what in ('step', 'forward') for side in SIDES]
        + [f'{found["step ratio"]:.2f}' if 'step ratio' in found else '-' for found in row['peers'].values()]
        for row in rows
    ]
    table = as_markdown(headers, cells, align='llll' + 'r' * (len(headers) - 4))
    return '\n\n'.join([table, *missing_peers(rows)])


def missing_peers(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for every reason why a peer has no number, with the models that it holds for."""
    models: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for peer, found in row['peers'].items():
            if 'why' in found:
                models.setdefault((peer, found['why']), []).append(row['model'])
    return [f'{peer} on {", ".join(dict.fromkeys(names))}: {why}.' for (peer, why), names in models.items()]


if __name__ == '__main__':
    main()
