from zoo.process import row_of


def test_a_process_that_dies_leaves_a_row_with_its_last_words():
    row = row_of('ours', 'no_such_model', draws=0, seconds=200, memory=0)
    assert row == {
        'tool': 'ours',
        'model': 'no_such_model',
        'verdict': 'failed',
        'why': "exit 1: KeyError: 'no_such_model'",
    }


def test_a_process_that_takes_too_long_is_ended():
    row = row_of('ours', 'resnet18', draws=0, seconds=0.01, memory=0)
    assert (row['verdict'], row['why']) == ('out of time', 'more than 0.01 s')
