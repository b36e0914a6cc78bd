from __future__ import annotations

import pytest

from nni_cafenet.errors import FolderError, ResumeError
from nni_cafenet.stages.resume_check import stages_record
from nni_cafenet.stages.run_copy import check_source, copy_run
from nni_cafenet.utils.json_records import read_record, write_record

SUPERNET = {'macs': 5, 'seed': 0}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / 'source'
    (folder / 'finalists' / '1').mkdir(parents=True)
    write_record(folder / 'run.json', stages_record(supernet=SUPERNET, scores={}, search={}, finalists={}))
    for name in ('supernet.ckpt', 'supernet.json', 'history.jsonl', 'finalists/1/slim.pt', 'report.md', 'widths.json'):
        (folder / name).write_text(name)
    return folder


def test_supernet_scores_and_networks_are_copied_and_results_are_not(source, tmp_path):
    copy_run(source, tmp_path / 'new', SUPERNET)
    found = {str(path.relative_to(tmp_path / 'new')) for path in (tmp_path / 'new').rglob('*') if path.is_file()}
    assert found == {'run.json', 'supernet.ckpt', 'supernet.json', 'history.jsonl', 'finalists/1/slim.pt'}
    with (tmp_path / 'new' / 'history.jsonl').open('a') as file:
        file.write('more')
    assert (source / 'history.jsonl').read_text() == 'history.jsonl'


def test_a_run_that_has_begun_is_left_alone(source, tmp_path):
    copy_run(source, tmp_path / 'new', SUPERNET)
    (tmp_path / 'new' / 'history.jsonl').write_text('scores')
    copy_run(source, tmp_path / 'new', SUPERNET)
    assert (tmp_path / 'new' / 'history.jsonl').read_text() == 'scores'


def test_an_interrupted_copy_is_made_again(source, tmp_path):
    (tmp_path / 'new').mkdir()
    (tmp_path / 'new' / 'history.jsonl').write_text('half')
    copy_run(source, tmp_path / 'new', SUPERNET)
    assert (tmp_path / 'new' / 'history.jsonl').read_text() == 'history.jsonl'
    assert read_record(tmp_path / 'new' / 'run.json', remedy='')['supernet'] == SUPERNET


def test_sources_that_do_not_serve(source, tmp_path):
    with pytest.raises(ResumeError, match='macs: 5 there, 6 now'):
        copy_run(source, tmp_path / 'new', {**SUPERNET, 'macs': 6})
    assert not (tmp_path / 'new').exists()
    with pytest.raises(FolderError, match='itself'):
        copy_run(source, source, SUPERNET)
    with pytest.raises(FolderError, match='is not there'):
        check_source(tmp_path / 'nowhere')
    with pytest.raises(FolderError, match='holds no run'):
        check_source(tmp_path)
    (source / 'supernet.json').unlink()
    with pytest.raises(FolderError, match='not trained to the end'):
        copy_run(source, tmp_path / 'new', SUPERNET)


def test_a_folder_that_cannot_be_written(source, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(FolderError, match='cannot be copied there'):
        copy_run(source, tmp_path / 'file' / 'new', SUPERNET)
