"""Hooks of ``mkdocs build`` (see mkdocs.yml): pages made of files outside of docs/, and the API reference."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'CONTRIBUTING.md',
    'SECURITY.md': 'SECURITY.md',
    'CHANGELOG.md': 'CHANGELOG.md',
    'benchmarks/README.md': 'benchmarks/index.md',
}
"""Markdown files of the checkout, and the pages that they become."""
TOUR = 'examples/quickstart.py'
SECTIONS = {
    'strategy': 'Strategies',
    'space': 'Spaces',
    'graph': 'Spaces',
    'report': 'Spaces',
    'analysis': 'Operators and layers of your own',
    'channel_importance': 'Order of channels',
    'supernet': 'Training the supernet',
    'search': 'Searching',
    'options': 'Searching',
    'latency': 'Latency',
    'slim': 'Slim models',
    'export': 'Slim models',
    'pruning': 'Pruning',
    'trials': 'Trials in other processes',
    'nni_compat': 'Trials in other processes',
}
"""Headings of the API reference, by the room of the package in which a name is at home."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and files from outside of docs/."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding='utf-8')))
    tour = '\n'.join(cells((ROOT / TOUR).read_text(encoding='utf-8')))
    files.append(File.generated(config, TOUR.replace('.py', '.md'), content=tour))
    for path in downloads():
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, 'reference.md', content=reference()))
    return files


def downloads() -> list[Path]:
    """Return the files of the checkout that the site offers as they are."""
    examples = [path for path in sorted((ROOT / 'examples').rglob('*.*')) if '__pycache__' not in path.parts]
    return [*examples, ROOT / 'CITATION.cff', ROOT / 'LICENSE']


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Mark fragments, and point links from the places of the checkout to those of the site."""
    origins = {new: old for old, new in PAGES.items()}
    origin = origins.get(page.file.src_uri, f'docs/{page.file.src_uri}')
    markdown = re.sub(r'^```python fragment$', '```python title="Fragment"', markdown, flags=re.MULTILINE)
    return re.sub(r'(\]\()([^)\s#:]+)', lambda link: link[1] + moved(link[2], origin, page.file.src_uri), markdown)


def moved(target: str, origin: str, page: str) -> str:
    """Return a relative link of a file of the checkout as the site's page of it needs it.

    >>> moved('docs/guide.md', 'README.md', 'index.md'), moved('../examples/search.yaml', 'docs/guide.md', 'guide.md')
    ('guide.md', 'examples/search.yaml')
    """
    there = os.path.normpath(os.path.join(os.path.dirname(origin), target))
    there = PAGES.get(there, there.removeprefix('docs/'))
    return os.path.relpath(there, os.path.dirname(page) or '.')


def cells(code: str) -> Iterator[str]:
    """Yield the Markdown of a script whose docstring and ``# %%`` comments are prose."""
    tree = ast.parse(code)
    yield prose(ast.get_docstring(tree) or '')
    first = tree.body[0].end_lineno or 0
    for cell in re.split(r'^# %%\n', '\n'.join(code.splitlines()[first:]), flags=re.MULTILINE):
        words = re.match(r'(?:#.*\n)*', cell)
        text = words[0] if words else ''
        yield prose(re.sub(r'^# ?', '', text, flags=re.MULTILINE))
        if rest := cell[len(text) :].strip('\n'):
            yield f'```python\n{rest}\n```\n'


def prose(text: str) -> str:
    """Return text with reST's overlined titles and double backticks as Markdown."""
    text = re.sub(r'\A=+\n(.*)\n=+\n', r'# \1\n', text)
    text = re.sub(r'^(.+)\n-{3,}$', r'## \1', text, flags=re.MULTILINE)
    return text.replace('``', '`') + '\n'


def reference() -> str:
    """Return the page of all public names, under a heading for each part of the package."""
    import griffe

    package = griffe.load('nni_cafenet', search_paths=[str(ROOT)], resolve_aliases=True)
    sections: dict[str, list[str]] = {heading: [] for heading in SECTIONS.values()}
    for name in public_names():
        room = package[name].target_path.split('.')[1]
        sections.setdefault(SECTIONS.get(room, 'More'), []).append(name)
    lines = ['# API reference', '', 'All public names of `nni_cafenet`, from their docstrings.', '']
    for heading, names in sections.items():
        if names:
            lines += [f'## {heading}', '', *(f'::: nni_cafenet.{name}\n' for name in names)]
    return '\n'.join(lines)


def public_names() -> list[str]:
    """Return ``nni_cafenet.__all__`` without dunder names."""
    import nni_cafenet

    return [name for name in nni_cafenet.__all__ if not name.startswith('__')]
