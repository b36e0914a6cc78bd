"""Signatures under files whose loading runs code: only what this user wrote is loaded.

The key is in a file of the user's own. An HMAC with it shows that a file was written by somebody who can read the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..errors import SigningKeyError, UntrustedFileError, first_line

__all__ = ['KEY_VARIABLE', 'is_signature', 'key_path', 'require_signature', 'signature']

KEY_VARIABLE = 'NNI_CAFENET_KEY'
"""Environment variable: path of the key file, where it is not the default one."""

_BYTES = 32


def key_path() -> Path:
    """Return where the key is: ``$NNI_CAFENET_KEY``, else ``nni-cafenet/key`` in the user's configuration folder."""
    given = os.environ.get(KEY_VARIABLE)
    if given:
        return Path(given)
    home = os.environ.get('XDG_CONFIG_HOME')
    return (Path(home) if home else Path.home() / '.config') / 'nni-cafenet' / 'key'


def signature(content: bytes, purpose: str) -> str:
    """Sign some content with the user's key, which is made on first use.

    Parameters
    ----------
    content
        What is signed.
    purpose
        What the content is for. A signature is valid for one purpose only.

    Raises
    ------
    nni_cafenet.errors.SigningKeyError
        If the key cannot be made or read, or others can read it.
    """
    path = key_path()
    if not path.exists():
        _make_key(path)
    return _signed(_read_key(path), content, purpose)


def is_signature(text: object, content: bytes, purpose: str) -> bool:
    """Return whether a text is the signature of some content with the user's key; False where there is no key."""
    path = key_path()
    if not isinstance(text, str) or not path.exists():
        return False
    return hmac.compare_digest(text.encode(), _signed(_read_key(path), content, purpose).encode())


def require_signature(text: object, content: bytes, purpose: str, *, file: str, remedy: str) -> None:
    """Refuse content that this user's key did not sign.

    Parameters
    ----------
    text
        The signature; None if there is none.
    content, purpose
        As in `signature`.
    file
        The file, for the message.
    remedy
        What the user can do, for the message.

    Raises
    ------
    nni_cafenet.errors.UntrustedFileError
        If the signature is missing or not valid.
    """
    if is_signature(text, content, purpose):
        return
    why = 'is not signed' if text is None else f'is damaged, or not signed with the key in {key_path()}'
    raise UntrustedFileError(
        f'{file} {why}, and loading it would run the code that it names. If it was written on another machine, let both '
        f'use one key: copy the key file there, or name it by {KEY_VARIABLE}. Otherwise {remedy}.'
    )


def _signed(key: bytes, content: bytes, purpose: str) -> str:
    return hmac.new(key, f'nni_cafenet {purpose}\n'.encode() + content, hashlib.sha256).hexdigest()


def _read_key(path: Path) -> bytes:
    try:
        status, text = path.stat(), path.read_text(encoding='ascii').strip()
        key = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise SigningKeyError(
            f'The key file {path} cannot be read ({first_line(error)}). Bring it back from a copy, or delete it: a new key '
            'is made then, and files signed with the old one are refused.'
        ) from error
    if len(key) < _BYTES:
        raise SigningKeyError(f'The key file {path} is cut short. Bring it back from a copy, or delete it.')
    if os.name == 'posix' and status.st_mode & 0o077:
        raise SigningKeyError(f'The key file {path} can be read by other users. Allow only yourself: chmod 600 {path}')
    if os.name == 'posix' and status.st_uid != os.getuid():
        raise SigningKeyError(
            f'The key file {path} belongs to another user. Copy it to a file of your own, and name that by {KEY_VARIABLE}.'
        )
    return key


def _make_key(path: Path) -> None:
    """Make a key; of several processes that do so at once, the first one's is taken."""
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(8)}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), 'w', encoding='ascii') as file:
            file.write(secrets.token_hex(_BYTES) + '\n')
            file.flush()
            os.fsync(file.fileno())
        try:
            with suppress(FileExistsError):
                os.link(temporary, path)
        except OSError:  # a file system without hard links
            if not path.exists():
                os.replace(temporary, path)
    except OSError as error:
        raise SigningKeyError(
            f'The key file {path} cannot be made ({first_line(error)}). Name a file in a folder of your own by '
            f'{KEY_VARIABLE}.'
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
