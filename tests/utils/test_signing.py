from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nni_cafenet.errors import SigningKeyError, UntrustedFileError
from nni_cafenet.utils.signing import is_signature, key_path, require_signature, signature


@pytest.fixture(autouse=True)
def key(tmp_path, monkeypatch):
    monkeypatch.delenv('NNI_CAFENET_KEY', raising=False)
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    return tmp_path / 'config' / 'nni-cafenet' / 'key'


def test_a_signature_is_valid_for_its_content_and_purpose_alone(key: Path) -> None:
    mine = signature(b'content', 'setup')
    assert is_signature(mine, b'content', 'setup')
    assert not is_signature(mine, b'Content', 'setup')
    assert not is_signature(mine, b'content', 'model')
    assert not is_signature(None, b'content', 'setup')
    assert not is_signature('ä', b'content', 'setup')


def test_the_key_is_made_once_and_for_its_user_alone(key: Path) -> None:
    assert not is_signature('0' * 64, b'', 'setup')
    assert not key.exists()  # reading makes none
    first = signature(b'', 'setup')
    assert key_path() == key
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(list(key.parent.iterdir())) == 1
    assert signature(b'', 'setup') == first


def test_many_at_once_have_one_key(key: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(signature(b'', 'setup'))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_shared_key_is_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = signature(b'', 'setup')
    monkeypatch.setenv('NNI_CAFENET_KEY', str(tmp_path / 'shared'))
    assert not is_signature(here, b'', 'setup')
    (tmp_path / 'shared').write_bytes((tmp_path / 'config' / 'nni-cafenet' / 'key').read_bytes())
    (tmp_path / 'shared').chmod(0o600)
    assert is_signature(here, b'', 'setup')


@pytest.mark.parametrize(
    ('content', 'mode', 'said'),
    [('', 0o600, 'truncated'), ('no key', 0o600, 'cannot be read'), ('ab' * 32, 0o640, 'chmod 600')],
)
def test_a_key_that_is_none_or_open_to_others_is_refused(key: Path, content: str, mode: int, said: str) -> None:
    key.parent.mkdir(parents=True)
    key.write_text(content)
    key.chmod(mode)
    with pytest.raises(SigningKeyError, match=said) as error:
        signature(b'', 'setup')
    assert str(key) in str(error.value)


def test_where_no_key_can_be_made_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('NNI_CAFENET_KEY', str(tmp_path / 'file' / 'key'))
    with pytest.raises(SigningKeyError, match='Set NNI_CAFENET_KEY to a file'):
        signature(b'', 'setup')


def test_what_is_unsigned_is_refused_with_file_and_remedy(key: Path) -> None:
    for text, why in ((None, 'is not signed'), ('0' * 64, 'not signed with the key in')):
        with pytest.raises(UntrustedFileError, match=why) as error:
            require_signature(text, b'', 'setup', file='run/setup.json', remedy='delete it to start anew')
        said = str(error.value)
        assert said.startswith('run/setup.json ')
        assert 'NNI_CAFENET_KEY' in said
        assert said.endswith('delete it to start anew.')
