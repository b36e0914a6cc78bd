"""Options that select a slim network of a finished run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigurationError, FolderError
from .consent import add_trust

if TYPE_CHECKING:
    from ..jobs import JobRecord, SavedNetwork

__all__ = ['add_network', 'chosen', 'the_network']


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run and its network."""
    parser.add_argument('folder', metavar='RUN', help='output folder of nni-cafenet prune, search or train-slim')
    parser.add_argument('--network', metavar='BUDGET', help='one network of several, such as 50%%')
    add_trust(parser, 'the folder')


def the_network(options: argparse.Namespace) -> tuple[JobRecord, SavedNetwork]:
    """Return the selected job and network; raise if the selection is ambiguous."""
    from ..jobs import JobFolder, SavedNetwork

    folder = Path(options.folder)
    home = next((each for each in (folder, *folder.resolve().parents) if JobFolder(each).has_record), None)
    if home is None:
        JobFolder(folder).load()  # raises
    job = JobFolder(home or folder)
    if job.path != folder:  # a subfolder of the run
        if not (folder / 'widths.json').is_file():
            raise FolderError(f'{str(folder)!r}: has no widths.json and slim.pt; give the folder of a finished run')
        return job.load(), SavedNetwork.read('', folder)
    record, networks = job.load(), chosen(SavedNetwork.all_of(job), options.network)
    if len(networks) > 1:
        names = ', '.join(network.name for network in networks)
        raise ConfigurationError(f'the run in {folder} has several networks; name one by --network: {names}')
    return record, networks[0]


def chosen(networks: list[SavedNetwork], name: str | None) -> list[SavedNetwork]:
    """Return the networks with a name, or all; raise if there are none."""
    if name is None:
        return networks
    found = [network for network in networks if network.name == name]
    if not found:
        names = ', '.join(network.name for network in networks if network.name)
        raise ConfigurationError(
            f'--network {name}: the run has no such network; '
            + (f'it has {names}' if names else 'it has only one: omit --network')
        )
    return found
