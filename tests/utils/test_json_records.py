from __future__ import annotations

import json
from pathlib import Path

import pytest

from nni_cafenet.errors import DamagedFileError, UntrustedFileError
from nni_cafenet.utils.json_records import RecordReader, append_record, read_record, read_records, write_record

RECORD = {'format': 1, 'score': 0.25, 'widths': {'a': 3}, 'name': 'zwölf'}


def flipped(content: bytes):
    """Versions of some content with one bit changed, one in every byte."""
    for at in range(len(content)):
        yield content[:at] + bytes([content[at] ^ 1 << (at * 5) % 8]) + content[at + 1 :]


@pytest.fixture(autouse=True)
def key(tmp_path, monkeypatch):
    monkeypatch.setenv('NNI_CAFENET_KEY', str(tmp_path / 'keys' / 'key'))


@pytest.mark.parametrize('purpose', [None, 'setup'])
def test_what_is_written_is_read(tmp_path: Path, purpose) -> None:
    path = tmp_path / 'x.json'
    write_record(path, RECORD, signed_for=purpose)
    assert read_record(path, remedy='delete it', signed_for=purpose) == RECORD
    assert {**RECORD, **json.loads(path.read_text('utf-8'))} == json.loads(
        path.read_text('utf-8')
    )  # JSON for everybody


@pytest.mark.parametrize('purpose', [None, 'setup'])
def test_every_flipped_bit_is_noticed(tmp_path: Path, purpose) -> None:
    path = tmp_path / 'x.json'
    write_record(path, RECORD, signed_for=purpose)
    for content in flipped(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises((DamagedFileError, UntrustedFileError), match=r'x\.json .*delete it\.'):
            read_record(path, remedy='delete it', signed_for=purpose)


@pytest.mark.parametrize('content', ['', '{', '[1]', '"text"', '{"a": 1}', '[' * 100_000, '\xff'])
def test_what_is_no_record_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / 'x.json'
    path.write_bytes(content.encode('latin-1'))
    with pytest.raises(DamagedFileError, match=r'x\.json is damaged \(it .*\)\. Restore .*, or start anew\.'):
        read_record(path, remedy='start anew')


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match='is damaged'):
        read_record(tmp_path, remedy='delete it')


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / 'x.json', remedy='delete it')


# --- lines ---


def test_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'x.jsonl'
    for record in (RECORD, {}, {'n': 2}):
        append_record(path, record)
    assert read_records(path, remedy='') == [RECORD, {}, {'n': 2}]
    assert RecordReader(path).read() == [RECORD, {}, {'n': 2}]
    assert [json.loads(line).get('n') for line in path.read_text().splitlines()] == [None, None, 2]


def test_every_flipped_bit_of_a_line_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'x.jsonl'
    for n in range(3):
        append_record(path, {'n': n})
    for content in flipped(path.read_bytes()):
        path.write_bytes(content)
        caplog.clear()
        said = None
        try:
            found = read_records(path, remedy='delete that line')
        except DamagedFileError as error:
            said = str(error)
        else:  # the last line break is gone: an unfinished last line
            assert found == [{'n': 0}, {'n': 1}]
            assert 'partial last line' in caplog.text
        assert said is None or ('x.jsonl, line ' in said and said.endswith('or delete that line.'))


def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / 'x.jsonl'
    append_record(path, {'n': 1})
    append_record(path, {'n': 2})
    whole = path.read_bytes()
    first = whole.index(b'\n') + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        expected = [{'n': 1}, {'n': 2}] if end == len(whole) - 1 else [{'n': 1}]
        assert read_records(path, remedy='') == expected
        append_record(path, {'n': 3})
        assert read_records(path, remedy='') == [*expected, {'n': 3}]


def test_a_damaged_line_of_another_process_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / 'x.jsonl'
    append_record(path, {'n': 1})
    append_record(path, {'n': 2})
    path.write_bytes(path.read_bytes().replace(b'1', b'7', 1))
    assert RecordReader(path).read() == [{'n': 2}]
    assert 'skipped' in caplog.text
