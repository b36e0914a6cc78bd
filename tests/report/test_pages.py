"""A page as Markdown and as HTML."""

from __future__ import annotations

from html.parser import HTMLParser

from nni_cafenet.report.document import Code, Heading, Picture, Points, Table, Text
from nni_cafenet.report.html_page import html_page
from nni_cafenet.report.markdown_page import markdown_page
from nni_cafenet.utils.tables import as_markdown

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>a</text></svg>'
BLOCKS = [
    Text('Two\nlines, *one* <b>'),
    Heading('A & B'),
    Points(('one', 'two')),
    Code(('if a < b:', "    print('*')")),
    Table(['name', 'MACs'], [['a|b', '1.5M'], ['<c>', None]]),
    Table(['name'], [['x']], folded='Names'),
    Picture('a.svg', SVG, 'An "a" [x]', 'The letter'),
]

MARKDOWN = r"""# Title \*

Two lines, \*one\* \<b>

## A & B

- one
- two

```python
if a < b:
    print('*')
```

TABLE

<details>
<summary>Names</summary>

FOLDED

</details>

![An "a" \[x\]](pictures/a.svg)

*The letter*
"""


class Page(HTMLParser):
    """Elements that were opened and never closed, and attributes by element."""

    VOID = {'meta', 'link', 'img'}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def test_markdown():
    table = as_markdown(['name', 'MACs'], [['a|b', '1.5M'], [r'\<c>', None]])
    expected = MARKDOWN.replace('TABLE', table).replace('FOLDED', as_markdown(['name'], [['x']]))
    assert markdown_page('Title *', BLOCKS, 'pictures') == expected


def test_html_is_well_formed_and_nothing_in_it_becomes_markup():
    page = Page(html_page('Title <i>', BLOCKS))
    assert page.open == []
    assert {'Title <i>', 'Two\nlines, *one* <b>', 'A & B', '<c>', 'Names', "if a < b:\n    print('*')"} <= set(
        page.texts
    )
    assert not page.of('i')
    assert page.of('html') == [{'lang': 'en'}]


def test_html_needs_nothing_beside_it():
    page = Page(html_page('Title', BLOCKS))
    addresses = [values[name] for _, values in page.attributes for name in ('src', 'href') if name in values]
    assert len(addresses) == 2
    assert all(address.startswith('data:') for address in addresses)
    assert not page.of('script')


def test_pictures_are_told_in_words():
    (picture,) = Page(html_page('Title', BLOCKS)).of('img')
    assert picture['alt'] == 'An "a" [x]'


def test_columns_of_numbers_go_right():
    cells = Page(html_page('Title', BLOCKS)).of('td')
    assert [cell.get('class') for cell in cells] == [None, 'r', None, 'r', None]
