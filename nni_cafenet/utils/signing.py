"""HMAC signatures, with the user's own key, for files whose loading runs code."""

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
"""Environment variable with the path of the key file."""

_BYTES = 32


def key_path() -> Path:
    """Return the key's path: ``$NNI_CAFENET_KEY``, or ``nni-cafenet/key`` in the user's configuration folder."""
    given = os.environ.get(KEY_VARIABLE)
    if given:
        return Path(given)
    home = os.environ.get('XDG_CONFIG_HOME')
    return (Path(home) if home else Path.home() / '.config') / 'nni-cafenet' / 'key'


def signature(content: bytes, purpose: str) -> str:
    """Sign content with the user's key, created on first use; a signature is valid for one purpose only.

    Raises `SigningKeyError` if the key cannot be created or read, or others can read it.
    """
    path = key_path()
    if not path.exists():
        _make_key(path)
    return _signed(_read_key(path), content, purpose)


def is_signature(text: object, content: bytes, purpose: str) -> bool:
    """Whether ``text`` is the signature of ``content`` with the user's key; False without a key."""
    path = key_path()
    if not isinstance(text, str) or not path.exists():
        return False
    return hmac.compare_digest(text.encode(), _signed(_read_key(path), content, purpose).encode())


def require_signature(text: object, content: bytes, purpose: str, *, file: str, remedy: str) -> None:
    """Raise `UntrustedFileError` unless the content is signed with the user's key for this purpose."""
    if is_signature(text, content, purpose):
        return
    why = 'is not signed' if text is None else f'is damaged, or not signed with the key in {key_path()}'
    raise UntrustedFileError(
        f'{file} {why}, and loading it would run the code that it names. If it was written on another machine, use one '
        f'key on both: copy the key file, or set {KEY_VARIABLE} to its path. Otherwise {remedy}.'
    )


def _signed(key: bytes, content: bytes, purpose: str) -> str:
    return hmac.new(key, f'nni_cafenet {purpose}\n'.encode() + content, hashlib.sha256).hexdigest()


def _read_key(path: Path) -> bytes:
    try:
        status, text = path.stat(), path.read_text(encoding='ascii').strip()
        key = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise SigningKeyError(
            f'The key file {path} cannot be read ({first_line(error)}). Restore it from a backup, or delete it: a new key '
            'is created then, and files signed with the old one are refused.'
        ) from error
    if len(key) < _BYTES:
        raise SigningKeyError(f'The key file {path} is truncated. Restore it from a backup, or delete it.')
    if os.name == 'posix' and status.st_mode & 0o077:
        raise SigningKeyError(f'The key file {path} can be read by other users. Allow only yourself: chmod 600 {path}')
    if os.name == 'posix' and status.st_uid != os.getuid():
        raise SigningKeyError(
            f'The key file {path} belongs to another user. Copy it to a file of your own and set {KEY_VARIABLE} to it.'
        )
    return key


def _make_key(path: Path) -> None:
    """Create a key; of several concurrent processes the first one wins."""
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
            f'The key file {path} cannot be created ({first_line(error)}). Set {KEY_VARIABLE} to a file in a folder of '
            f'your own.'
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
