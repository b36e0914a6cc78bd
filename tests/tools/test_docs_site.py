"""The documentation site has every file that its pages link to."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r'\]\(([^)\s#:]+)(?:#[^)]*)?\)')


@pytest.fixture(scope='module')
def tool():
    description = importlib.util.spec_from_file_location('docs_site', ROOT / 'tools' / 'docs_site.py')
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def pages(tool) -> dict[str, str]:
    """Return ``{file of the checkout: page of the site}``."""
    own = {path.relative_to(ROOT).as_posix(): path.name for path in (ROOT / 'docs').glob('*.md')}
    return {**own, **tool.PAGES}


def test_links_lead_to_files_of_the_site(tool):
    offered = {path.relative_to(ROOT).as_posix() for path in tool.downloads()}
    offered |= {path.relative_to(ROOT / 'docs').as_posix() for path in (ROOT / 'docs').rglob('*.*')}
    offered |= {*pages(tool).values(), tool.TOUR.replace('.py', '.md'), 'reference.md'}
    lost = []
    for source, page in pages(tool).items():
        for target in LINK.findall((ROOT / source).read_text(encoding='utf-8')):
            there = posixpath.normpath(posixpath.join(posixpath.dirname(page), tool.moved(target, source, page)))
            if there not in offered:
                lost.append((source, target))
    assert not lost
