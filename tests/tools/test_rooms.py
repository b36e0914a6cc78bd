"""docs/rooms.md is made of the docstrings of the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parents[2] / 'tools' / 'rooms.py'


def load():
    description = importlib.util.spec_from_file_location('rooms', TOOL)
    tool = importlib.util.module_from_spec(description)
    description.loader.exec_module(tool)
    return tool


def test_the_page_is_that_of_the_code():
    tool = load()
    assert tool.PAGE.read_text(encoding='utf-8') == tool.page(), 'run: python tools/rooms.py'


def test_every_file_says_its_idea_in_a_line():
    tool = load()
    for room in tool.ROOMS:
        for path in [tool.PACKAGE / room / '__init__.py', *tool.files_of(tool.PACKAGE / room)]:
            assert 0 < len(tool.idea_of(path)) <= 300, path
