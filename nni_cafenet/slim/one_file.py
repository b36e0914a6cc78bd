"""The files that load slim models, joined into one, which needs torch alone."""

from __future__ import annotations

import ast
from pathlib import Path

from . import files

__all__ = ['joined_loader']

_TITLE = '''"""Load slim models from disk with torch alone: nni_cafenet.load_slim in one file."""

from __future__ import annotations
'''


def joined_loader() -> str:
    """Return the source of `load_slim`, with all that it needs but torch, as one file to copy next to a deployed model."""
    home = Path(next(iter(files.__path__)))
    imports, bodies = set[str](), list[str]()
    for path in sorted(home.glob('[!_]*.py')):
        source = path.read_text(encoding='utf-8')
        tree, lines = ast.parse(source), source.splitlines()
        header = [each for each in tree.body if _is_header(each)]
        imports.update(
            ast.unparse(each)
            for each in header
            if isinstance(each, ast.Import) or (isinstance(each, ast.ImportFrom) and not each.level)
        )
        last = max(each.end_lineno or 0 for each in header)
        bodies.append('\n'.join(lines[last:]).strip('\n'))
    ours = sorted(imports - {'from __future__ import annotations'})
    return '\n\n\n'.join(['\n'.join([_TITLE, *ours, '', "__all__ = ['load_slim']"]), *bodies]) + '\n'


def _is_header(node: ast.stmt) -> bool:
    """Whether a statement is the docstring, an import, or ``__all__``; all of these come first."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == '__all__'
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (isinstance(node, ast.Expr) and node.lineno == 1)
