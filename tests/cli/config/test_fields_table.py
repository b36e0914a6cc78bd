"""The documentation and the example, held against the fields."""

from __future__ import annotations

import re
from pathlib import Path

from nni_cafenet.cli.config import FIELDS, Configuration
from nni_cafenet.cli.config.fields_table import fields_table
from nni_cafenet.cli.data import FORMS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'docs' / 'command_line.md').read_text(encoding='utf-8')


def test_the_page_has_the_table_of_all_fields():
    table = re.search(r'<!-- fields:.*?-->\n(.*)\n<!-- end of fields -->', PAGE, re.DOTALL)[1]
    assert cells(table) == cells(fields_table())
    assert len(cells(table)) == len(FIELDS) + 1


def cells(table: str) -> list[list[str]]:
    """The words of a table; how wide its columns are drawn differs between releases of prettytable."""
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()]
    return [row for row in rows if set(''.join(row)) - set(':- ')]


def test_the_page_has_all_sources():
    assert [form for form in FORMS if f'`{form}`' not in PAGE] == []


def test_the_example_is_a_configuration():
    made = Configuration.checked(str(ROOT / 'examples' / 'search.yaml'), {})
    assert (made['data.source'], made['space.bins'], made['training.lr']) == ('digits', '1:4', 0.1)
