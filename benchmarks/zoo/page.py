"""The page of the rows: tables, totals and notes. Every figure on it comes from a row."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nni_cafenet.utils.tables import as_markdown

from .models import FAMILIES, LIBRARIES, cases

Row = dict[str, Any]
Rows = dict[tuple[str, str], Row]

NAMES = {'ours': 'nni_cafenet', 'torch-pruning': 'Torch-Pruning', 'modelopt': 'ModelOpt'}
WORKS = ('exact', 'runs', 'eval only')
VERDICTS = ('exact', 'runs', 'eval only', 'wrong', 'failed', 'out of time')

_GOAL = 0.95
_PATIENCE = 10  # seconds that a model may take

_INTRODUCTION = """\
# Coverage

Which widths of torchvision's models can change, and whether what comes out is exact; the same for two other tools beside
it. `benchmarks/coverage.py` writes this page from its rows, whole. [zoo.md](zoo.md) has models of other packages.

```sh
pip install .[bench]                                    # the other tools; without them ours alone is measured
python benchmarks/coverage.py --output coverage.jsonl   # hours; run again to go on where it stopped
python benchmarks/coverage.py --rows coverage.jsonl --markdown docs/coverage.md
```"""

_ZOO_INTRODUCTION = """\
# Coverage of other packages

Which widths of models of {packages} can change,
and whether what comes out is exact. The models were chosen before any was tried, one of each architecture family; kinds of
faults that the first sweeps showed were mended, and the models measured again.
`benchmarks/coverage.py` writes this page from its rows, whole; [coverage.md](coverage.md) has torchvision's models.
Those of transformers and MONAI have small configurations: the last channel of a layer is a larger share than as published.

```sh
pip install .[zoo]                                      # the packages; Ultralytics is under AGPL-3.0
python benchmarks/coverage.py --tools ours --draws 1 --output zoo.jsonl --family {families}
python benchmarks/coverage.py --rows zoo.jsonl --markdown docs/zoo.md
```"""

_PACKAGES = {
    'timm': 'timm',
    'ultralytics': 'Ultralytics',
    'transformers': 'Hugging Face transformers',
    'smp': 'segmentation-models-pytorch',
    'monai': 'MONAI',
}

_NOTES = """\
## How to read it

- **Models.** Fresh weights, seed 0, no vector constant. One sample of the size that stands above its table. Detectors keep
  every detection, and those with a feature pyramid are made for pictures of that size instead of 800 pixels. Each tool has
  each model in a process of its own, one thread.
- **MACs** are multiply-accumulates of one sample: `torch.utils.flop_counter` halved, for all tools, on the network that
  really runs. *can change*: the share of them that is gone when every group has its fewest channels, mostly one;
  *of parameters*: the same of the parameters. *at half*: the share of MACs that is left when every group has half of its
  channels.
- **seconds**: building the space (ours); the dependency graph and pruning (Torch-Pruning); converting (ModelOpt). Imports
  are done before. They are seconds of processor time, which other work on the machine does not change much.
- **memory**: the peak after building the space; in brackets what it is above the peak of making the model and calling it.
- **exact, ours**: at the smallest, the largest and random widths, with random channel sets, in eval and in training mode
  (auxiliary heads included), in float64: the supernet gives what the slim model gives (*error*, relative to the largest
  value, below 1e-9), and MACs and parameters are those that are counted on the slim model.
- **Two-stage detectors** see the proposals and detections of the full model at all widths: the MACs of the box head and
  of the mask head depend on how many there are. What the box head computes is compared as it is.
- **Torch-Pruning** is used as documented, without a recipe a model: L1 magnitude, half of every group, the last layers
  ignored, the heads of `nn.MultiheadAttention` named. *exact*: the pruned model computes what the full one does with
  zeros in the channels that were removed (float64). *runs*: the shape is right, but where layers mix channels (layer
  normalization, attention) zeros cannot tell more.
- **ModelOpt**: the search space of its FastNAS mode. *groups*, *choices*: how many widths have more than one choice, and
  how many choices they have together, as configured by default: multiples of 32. *at half*: the choices nearest to half of
  each width; in brackets with multiples of 1. *exact*: the exported subnet computes what the converted model did
  (float32).
- An empty cell was not measured.
- *eval only*: right in eval mode, but in training mode the smaller network fails. *out of time*: the work of the tool alone
  took more processor time than its limit."""


def by_key(rows: Iterable[Row]) -> Rows:
    """Return rows by tool and model; of two with the same key the later one stands."""
    return {(row['tool'], row['model']): row for row in rows}


def page(rows: Rows) -> str:
    """Return the page of what was measured."""
    machines = sorted({row['machine'] for row in rows.values() if 'machine' in row})
    parts = [_introduction(rows), _list([*machines, *_versions(rows), *_commits(rows), *unmeasured(rows)])]
    parts += ['## Totals', totals(rows), _list(goals(rows))]
    parts += [_list(comparisons(rows)), _NOTES]
    for family in FAMILIES:
        if models := [row['model'] for row in rows.values() if row.get('family') == family]:
            parts += [
                f'## {_PACKAGES.get(family, family.capitalize())}',
                *family_tables(rows, list(dict.fromkeys(models))),
            ]
    parts += [f'## Where less than {_GOAL:.0%} can change', low] if (low := below_goal(rows)) else []
    parts += ['## What is fixed, and why', reasons(rows), '## What went wrong', failures(rows)]
    return '\n\n'.join(filter(None, parts)) + '\n'


def _introduction(rows: Rows) -> str:
    families = [family for family in FAMILIES if any(row.get('family') == family for row in rows.values())]
    if not families or not set(families) <= set(LIBRARIES):
        return _INTRODUCTION
    names = [_PACKAGES[family] for family in families]
    packages = f'{", ".join(names[:-1])} and {names[-1]}' if len(names) > 1 else names[0]
    return _ZOO_INTRODUCTION.format(packages=packages, families=' '.join(families))


def _list(lines: Iterable[str]) -> str:
    return '\n'.join(f'- {line}' for line in lines)


def totals(rows: Rows) -> str:
    """Return a table with a line for each tool, and each family of it where there are several."""
    families = [family for family in FAMILIES if any(row.get('family') == family for row in rows.values())]
    lines = []
    for tool in NAMES:
        for family in ['all', *families] if len(families) > 1 else families:
            found = [row for (name, _), row in rows.items() if name == tool and family in ('all', row.get('family'))]
            if found:
                lines.append([NAMES[tool], family, len(found), *_counts(found), *_middle(found)])
    headers = ['tool', 'family', 'models', *VERDICTS, 'median s', 'max s', 'median MACs at half']
    return as_markdown(headers, lines)


def _counts(rows: Sequence[Row]) -> list[int]:
    found = Counter(row['verdict'] for row in rows)
    return [found[verdict] for verdict in VERDICTS]


def _middle(rows: Sequence[Row]) -> list[str | None]:
    seconds = [row['cpu_seconds'] for row in rows if 'cpu_seconds' in row]
    half = [row['macs_at_half'] for row in rows if row['verdict'] in WORKS and 'macs_at_half' in row]
    return [
        f'{statistics.median(seconds):.1f}' if seconds else None,
        f'{max(seconds):.1f}' if seconds else None,
        f'{statistics.median(half):.3f}' if half else None,
    ]


def goals(rows: Rows) -> list[str]:
    """Say of how many models ours changes nearly all MACs, and which ones take long."""
    own = [row for (tool, _), row in rows.items() if tool == 'ours']
    built = [row for row in own if 'share_that_can_change' in row]
    if not built:
        return []
    free = sum(row['share_that_can_change'] >= _GOAL for row in built)
    slow = [f'{row["model"]} ({row["cpu_seconds"]:.1f} s)' for row in built if row['cpu_seconds'] > _PATIENCE]
    rest = f'; longer: {", ".join(slow)}' if slow else ''
    return [
        f'At least {_GOAL:.0%} of the MACs can change in {free} of the {len(own)} models ({free / len(own):.0%}).',
        f'The space is built within {_PATIENCE} s of processor time in {len(built) - len(slow)} of them{rest}.',
    ]


def below_goal(rows: Rows) -> str:
    """Return the table of our models of which less than most MACs can change, with what is fixed in each."""
    lines = []
    for (tool, model), row in rows.items():
        if tool == 'ours' and row.get('share_that_can_change', 1.0) < _GOAL:
            found: Counter[str] = Counter()
            for reason, count in row.get('fixed', {}).items():
                found[_shortened(reason)] += count
            why = '; '.join(f'{reason} ({count})' for reason, count in found.most_common())
            lines.append([model, f'{row["share_that_can_change"]:.2%}', why])
    return as_markdown(['model', 'can change', 'reasons (layers)'], lines, align='lrl') if lines else ''


def comparisons(rows: Rows) -> list[str]:
    """Say for each other tool on how many of the models where it works ours changes at least as much of the MACs."""
    lines = []
    for tool in list(NAMES)[1:]:
        both = []
        for (name, model), theirs in rows.items():
            own = rows.get(('ours', model), {})
            if name == tool and theirs['verdict'] in WORKS and 'macs_at_half' in theirs and 'macs_at_half' in own:
                best = theirs.get('macs_at_half_of_finest') or theirs['macs_at_half']
                both.append((model, own['macs_at_half'], best))
        if both:
            behind = [f'{model} ({ours:.3f}, {best:.3f})' for model, ours, best in both if ours > best + 5e-4]
            rest = f'; more on {", ".join(behind)}' if behind else ''
            lines.append(
                f'At half of each width ours leaves no more MACs than {NAMES[tool]} on {len(both) - len(behind)} of the '
                f'{len(both)} models where that tool works (to 0.0005){rest}.'
            )
    return lines


def family_tables(rows: Rows, models: Sequence[str]) -> list[str]:
    """Return the sizes of a family's samples and the table of its models."""
    tools = [tool for tool in NAMES if any((tool, model) in rows for model in models)]
    shapes: dict[str, list[str]] = {}
    for model in models:
        shape = next((row['shape'] for (_, name), row in rows.items() if name == model and 'shape' in row), None)
        shapes.setdefault(' x '.join(map(str, shape or ['?'])), []).append(model)
    most = max(shapes, key=lambda shape: len(shapes[shape]))
    rest = ''.join(f'; {", ".join(names)}: {shape}' for shape, names in shapes.items() if shape != most)
    headers = ['model', *(header for tool in tools for header in _HEADERS[tool])]
    lines = [[model, *(cell for tool in tools for cell in _cells(tool, rows.get((tool, model))))] for model in models]
    return [f'One sample: {most}{rest}.', as_markdown(headers, lines)]


_HEADERS = {
    'ours': ['groups', 'MACs', 'can change', 'of parameters', 'at half', 'seconds', 'memory, MiB', 'error', 'verdict'],
    'torch-pruning': ['Torch-Pruning: at half', 'T-P: seconds', 'T-P: verdict'],
    'modelopt': ['ModelOpt: groups, choices', 'M-O: at half', 'M-O: seconds', 'M-O: verdict'],
}


def _cells(tool: str, row: Row | None) -> list[object]:
    if row is None:
        return [None] * len(_HEADERS[tool])
    half = f'{row["macs_at_half"]:.3f}' if 'macs_at_half' in row else None
    seconds = _seconds(row)
    if tool == 'torch-pruning':
        return [half, seconds, row['verdict']]
    if tool == 'modelopt':
        finest = row.get('macs_at_half_of_finest')
        half = f'{half} ({finest:.3f})' if half and finest else half
        return [f'{row["groups"]}, {row["choices"]}' if 'choices' in row else None, half, seconds, row['verdict']]
    if 'groups' not in row:
        return [None] * (len(_HEADERS[tool]) - 1) + [row['verdict']]
    memory = f'{row["memory"] + row["memory_growth"]:,} (+{row["memory_growth"]:,})'
    share, error = f'{row["share_that_can_change"]:.2%}', f'{row["error"]:.0e}' if row['error'] else '0'
    params = f'{row["share_of_params"]:.2%}' if 'share_of_params' in row else None
    return [row['groups'], _giga(row['macs']), share, params, half, seconds, memory, error, row['verdict']]


def _seconds(row: Row) -> str | None:
    return f'{row["cpu_seconds"]:.1f}' if 'cpu_seconds' in row else None


def _giga(macs: int) -> str:
    return f'{macs / 1e9:.2f}G' if macs >= 1e9 else f'{macs / 1e6:.0f}M'


def reasons(rows: Rows) -> str:
    """Return the table of reasons for which layers of our models keep their width; numbers in them become N."""
    models: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    for (tool, _), row in rows.items():
        found: Counter[str] = Counter()
        for reason, count in (row.get('fixed') or {}).items() if tool == 'ours' else ():
            found[_shortened(reason)] += count
        models.update(found.keys())
        layers.update(found)
    lines = [[reason, count, layers[reason]] for reason, count in models.most_common()]
    return as_markdown(['reason', 'models', 'layers'], lines, align='lrr') if lines else 'Nothing is.'


def failures(rows: Rows) -> str:
    """Return the table of what stopped each tool or was wrong with its result, most frequent first."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for (tool, model), row in rows.items():
        if row.get('why'):
            why = row['why'] if row['verdict'] == 'out of time' else _shortened(row['why'])
            found.setdefault((NAMES[tool], row['verdict'], why), []).append(model)
    order = list(NAMES.values())
    lines = [
        [*key, len(models), ', '.join(models)]
        for key, models in sorted(found.items(), key=lambda item: (order.index(item[0][0]), -len(item[1])))
    ]
    return as_markdown(['tool', 'verdict', 'why', 'models', 'which'], lines, align='lllrl') if lines else 'Nothing did.'


def _shortened(text: str, most: int = 110) -> str:
    text = re.sub(r'\b\d+(\.\d+)?\b', 'N', text)
    text = text if len(text) <= most else f'{text[: most - 3]}...'
    return text.replace('][', ']\\[')  # two brackets are a link in Markdown


def _versions(rows: Rows) -> list[str]:
    lines = []
    for tool, name in NAMES.items():
        own = [row for (row_tool, _), row in rows.items() if row_tool == tool]
        versions = sorted({row['tool_version'] for row in own if 'tool_version' in row})
        platforms = sorted({f'Python {row["python"]}, torch {row["torch"]}' for row in own if 'torch' in row})
        if versions:
            lines.append(f'{name} {", ".join(versions)} ({"; ".join(platforms)})')
    return lines


def unmeasured(rows: Rows) -> list[str]:
    """Say how many models of each family that is on the page have no row yet, as far as the packages are installed here."""
    measured = {model for tool, model in rows if tool == 'ours'}
    families = [case.family for case in cases().values() if case.name not in measured]
    shown = {row.get('family') for row in rows.values()}
    every = Counter(case.family for case in cases().values())
    left = [f'{count} of {every[family]} of {family}' for family, count in Counter(families).items() if family in shown]
    return [f'Models without a row yet: {", ".join(left)}'] if left and measured else []


def _commits(rows: Rows) -> list[str]:
    found = Counter(row['commit'] for row in rows.values() if row.get('commit'))
    rows_at = ', '.join(f'{commit} ({count})' for commit, count in found.most_common())
    return [f'Commits (rows): {rows_at}; a plus: with changes that were not committed yet'] if found else []
