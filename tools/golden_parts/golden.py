"""The file of golden hashes: its items are computed, written one by one, and compared."""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from tqdm.auto import tqdm

import nni_cafenet
from nni_cafenet.testing import digits

from . import spaces
from .children import in_child
from .hashing import hash_json
from .models import missing, model_names
from .runs import RUN_ITEMS, run

__all__ = ['compare', 'differences', 'record']

Items = dict[str, dict[str, dict[str, Any]]]
"""``{part: {item: {'fields': {field: hash}}, or {'skipped': why}}}``."""

_CALLS: dict[str, Callable[[str, Path], dict[str, Any]]] = {
    'graphs': lambda item, work: spaces.graph(item),
    'steps': lambda item, work: spaces.steps(item),
    'proposals': lambda item, work: spaces.proposals(item),
    'runs': run,
    'files': spaces.files,
}


def record(options: argparse.Namespace) -> None:
    """Compute what is asked for and is not in the file yet."""
    items = _asked(options)
    done = compute(items, options, options.output)
    print(_summary(done))
    print(f'Written: {options.output}')


def compare(options: argparse.Namespace) -> bool:
    """Compute the items of a file again; print what differs, and return whether something does."""
    content = json.loads(options.compare.read_text(encoding='utf-8'))
    if content['environment'] != environment():
        print(f'Other versions or another machine: {content["environment"]} then, {environment()} now.')
    before: Items = content['items']
    asked = _asked(options)
    items = {part: [name for name in names if name in before.get(part, {})] for part, names in asked.items()}
    chosen = {part: {name: before[part][name] for name in names} for part, names in items.items()}
    wanted = {part: [name for name, each in named.items() if 'fields' in each] for part, named in chosen.items()}
    after = compute(wanted, options, options.output, limit=None)
    found = differences(chosen, after, options.ignore)
    print(_summary(after))
    if found:
        widths = [max(len(row[column]) for row in found) for column in (0, 1)]
        print('\n'.join(f'{part:<{widths[0]}}  {item:<{widths[1]}}  {field}' for part, item, field in found))
    print(f'{len(found)} fields differ.' if found else 'Nothing differs.')
    return bool(found)


def differences(before: Items, after: Items, ignore: list[str]) -> list[tuple[str, str, str]]:
    """Return what differs, as (part, item, field); items that one side has left out do not."""
    found = []
    for part, named in before.items():
        for item, left in named.items():
            right = after.get(part, {}).get(item, {'skipped': ''})
            if 'skipped' in left or 'skipped' in right:
                continue
            if 'error' in right:
                found.append((part, item, f'it fails: {right["error"]}'))
                continue
            fields = dict.fromkeys([*left['fields'], *right['fields']])
            found += [
                (part, item, _told(field, left['fields'], right['fields']))
                for field in fields
                if left['fields'].get(field) != right['fields'].get(field)
                and not any(fnmatch.fnmatchcase(field, pattern) for pattern in ignore)
            ]
    return found


def _told(field: str, left: Mapping[str, str], right: Mapping[str, str]) -> str:
    if field in left and field in right:
        return field
    return f'{field} (only {"before" if field in left else "after"})'


def compute(
    items: Mapping[str, list[str]], options: argparse.Namespace, output: Path | None, limit: int | None = -1
) -> Items:
    """Compute items, each in a process of its own; what a file of this code has is taken from there."""
    limit = options.limit if limit == -1 else limit
    content = _started(output)
    done: Items = content['items']
    left = [(part, name) for part, names in items.items() for name in names if name not in done.get(part, {})]
    digits()  # imported once, not in each process
    with tempfile.TemporaryDirectory(prefix='golden-') as scratch, tqdm(left, unit='item', dynamic_ncols=True) as bar:
        for part, name in bar:
            bar.set_description(f'{part}: {name}')
            start = time.monotonic()
            found = _computed(part, name, Path(scratch), limit if part == 'graphs' else None)
            if options.values is not None and 'fields' in found:
                _write(options.values / part / f'{name.replace("/", "_")}.json', found['fields'])
            if 'fields' in found:
                found['fields'] = {field: hash_json(value) for field, value in found['fields'].items()}
            found['seconds'] = round(time.monotonic() - start, 1)
            done.setdefault(part, {})[name] = found
            if output is not None and 'error' not in found:
                _write(output, {**content, 'items': _without_errors(done)})
    return {part: {name: done[part][name] for name in names} for part, names in items.items()}


def _computed(part: str, name: str, scratch: Path, seconds: int | None) -> dict[str, Any]:
    if part == 'graphs' and (why := missing(name)):
        return {'skipped': why}
    work = scratch / 'work'
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        return in_child(lambda: _CALLS[part](name, work), scratch / 'log', seconds)
    except RuntimeError as error:
        tqdm.write(f'{part}: {name}: {error}')
        return {'error': str(error)}


def _asked(options: argparse.Namespace) -> dict[str, list[str]]:
    every = {
        'graphs': model_names(options.models),
        'steps': list(spaces.STEP_MODELS),
        'proposals': list(spaces.SEARCHERS),
        'runs': list(RUN_ITEMS),
        'files': list(spaces.FILE_MODELS),
    }
    known = {name for part, names in every.items() if part != 'graphs' for name in names}
    for name in options.items or ():
        if name not in known:
            raise ValueError(f'--items: {name!r} is none of {sorted(known)}')
    return {
        part: [name for name in every[part] if part == 'graphs' or not options.items or name in options.items]
        for part in options.parts
    }


def _started(output: Path | None) -> dict[str, Any]:
    fresh = {'format': 1, 'code': code(), 'environment': environment(), 'items': {}}
    if output is None or not output.exists():
        return fresh
    content = json.loads(output.read_text(encoding='utf-8'))
    if content['code'] != fresh['code']:
        raise ValueError(f'{output} was written by other code of nni_cafenet; delete it, or give another --output.')
    return content


def code() -> str:
    """Hash the sources of the package."""
    root = Path(nni_cafenet.__file__).parent
    sources = sorted((str(path.relative_to(root)), path.read_bytes()) for path in root.rglob('*.py'))
    return hashlib.sha256(repr(sources).encode()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """Describe what hashes of floating-point numbers depend on."""
    return {
        'torch': torch.__version__,
        'torchvision': torchvision.__version__,
        'processor': torch.backends.cpu.get_cpu_capability(),
        'python': platform.python_version(),
    }


def _without_errors(items: Items) -> Items:
    return {part: {name: each for name, each in named.items() if 'error' not in each} for part, named in items.items()}


def _summary(items: Items) -> str:
    lines = []
    for part, named in items.items():
        kinds = [[name for name, each in named.items() if kind in each] for kind in ('fields', 'skipped', 'error')]
        seconds = sum(each['seconds'] for each in named.values())
        lines.append(
            f'{part}: {len(kinds[0])} items, {len(kinds[1])} left out, {len(kinds[2])} failed; {seconds:.0f} s'
        )
        lines += [f'  left out: {name}: {named[name]["skipped"]}' for name in kinds[1]]
        lines += [f'  failed: {name}: {named[name]["error"]}' for name in kinds[2]]
    return '\n'.join(lines)


def _write(path: Path, content: Any) -> None:
    """Replace a file once the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.new')
    temporary.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    temporary.replace(path)
