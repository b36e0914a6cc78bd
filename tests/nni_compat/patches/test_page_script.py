"""The script of NNI's pages, as its manager serves it; `tests/web_ui/test_pages.py` sees what it does in a browser."""

from __future__ import annotations

from pathlib import Path

import nni_node

STATIC = Path(nni_node.__file__).parent / 'static'
LOOP = 'allTrialsIntermediateChart(){const e=[];for(const t of this.'


def test_it_skips_trials_that_it_does_not_know(manager):
    (path,) = STATIC.glob('static/js/main.*.js')
    status, served, headers = manager.request('GET', f'/{path.relative_to(STATIC)}')
    assert status == 200
    assert headers['Content-Type'].startswith(('application/javascript', 'text/javascript'))
    original = path.read_text()
    assert f'{LOOP}trials.values()' in original
    assert served == original.replace(f'{LOOP}trials.values()', f'{LOOP}toArray()')


def test_another_file_of_that_name_does_not_exist(manager):
    page = (STATIC / 'index.html').read_text()
    assert manager.request('GET', '/static/js/main.0.js')[1] == page  # as without the correction
