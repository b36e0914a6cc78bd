"""Who may ask NNI's manager for what: real requests to a real manager, over loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from websockets.exceptions import InvalidStatus

READS = 'check-status experiment trial-jobs job-statistics metric-data metric-data-latest version'.split()
CHANGES = [
    ('POST', 'trial-jobs'),
    ('DELETE', 'trial-jobs/abc'),
    ('PUT', 'experiment?update_type=TRIAL_CONCURRENCY'),
    ('PUT', 'experiment/cluster-metadata'),
    ('POST', 'experiment'),
    ('DELETE', 'experiment'),
    ('POST', 'experiment/import-data'),
    ('POST', 'tensorboard'),
    ('DELETE', 'tensorboard-tasks'),
    ('PATCH', 'experiment'),
    ('OPTIONS', 'trial-jobs'),
]
FOREIGN = [
    {'Host': 'evil.example'},
    {'Host': 'evil.example:{port}'},
    {'Host': '127.0.0.1.evil.example:{port}'},
    {'Host': 'localhost.evil.example'},
    {'Host': '127.0.0.1:{port}@evil.example'},
    {'Host': '10.0.0.1:{port}'},
    {'Host': '0.0.0.0:{port}'},
    {'Host': ''},
    {'Host': None},
    {'Origin': 'http://evil.example'},
    {'Origin': 'http://127.0.0.1:1'},
    {'Origin': 'https://127.0.0.1:{port}'},
    {'Origin': 'http://localhost:{port}'},
    {'Origin': 'null'},
    {'Origin': ''},
    {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors'},
    {'Sec-Fetch-Site': 'same-site', 'Sec-Fetch-Mode': 'no-cors'},
]

KEYED = """/env/local-env/abc /ENV/local-env/abc /tuner /platform/remote/1 /logs/nnimanager.log /LOGS/nnimanager.log /netron
/API/v1/nni/trial-jobs /api/v1/nni/trial-file/abc/model.pt""".split()
ROUTES = """/api/v1/nni/trial-file/abc/ /api/v1/nni/trial-file/ /api/v1/nni/trial-jobs/ /api/v1/nni/metric-data/ /logs/ /
/api/v1/nni/tensorboard/ /env/local-env/""".split()
WAYS_OUT = """..%2f..%2f{} ..%2F{} %2e%2e/{} ../{} ..%5c{} a%00{} %c0%ae%c0%ae/{} % ./{} %2e/{} /{}""".split()


def headers(template, port):
    return {name: value and value.format(port=port) for name, value in template.items()}


@pytest.mark.parametrize('template', FOREIGN, ids=str)
def test_pages_of_others_are_refused_even_with_the_token(manager, template):
    foreign = headers(template, manager.port)
    for path in ('/api/v1/nni/version', f'/{manager.prefix}/api/v1/nni/version', '/oview', f'/{manager.prefix}/oview'):
        assert manager.request('GET', path, **foreign)[0] in (400, 403)
    assert manager.request('POST', f'/{manager.prefix}/api/v1/nni/trial-jobs', '{}', **foreign)[0] in (400, 403)


def test_two_hosts_are_refused(manager):
    with socket.create_connection(('127.0.0.1', manager.port)) as raw:
        raw.sendall(f'GET /oview HTTP/1.1\r\nHost: 127.0.0.1:{manager.port}\r\nHost: evil.example\r\n\r\n'.encode())
        assert raw.recv(100).startswith(b'HTTP/1.1 403')


@pytest.mark.parametrize('host', ['localhost', 'LOCALHOST', '127.0.0.1', '[::1]', 'localhost:9999', 'localhost:{port}'])
def test_this_machine_has_several_names_and_tunnels_other_ports(manager, host):
    host = host.format(port=manager.port)
    for more in ({}, {'Origin': f'http://{host}'.lower()}, {'Sec-Fetch-Site': 'same-origin'}):
        assert manager.request('GET', '/api/v1/nni/version', Host=host, **more)[0] == 200


def test_a_link_from_elsewhere_may_be_followed(manager):
    visit = {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document'}
    status, text, answered = manager.request('GET', '/oview', **visit)
    assert status == 200
    assert '<div id="root">' in text
    assert answered['Content-Security-Policy'] == "frame-ancestors 'self'"


@pytest.mark.parametrize('word', READS)
def test_without_the_token_one_may_look(manager, word):
    assert manager.request('GET', f'/api/v1/nni/{word}')[0] in (
        200,
        500,
    )  # before the experiment, NNI itself fails for some
    assert manager.api('GET', word)[0] in (200, 500)


@pytest.mark.parametrize(('method', 'word'), CHANGES)
def test_without_the_token_nothing_is_changed(manager, method, word):
    for kind in ('application/json', 'text/plain', 'application/x-www-form-urlencoded'):
        status, text, _ = manager.request(method, f'/api/v1/nni/{word}', '{}', Content_Type=kind)
        assert (status, 'needs the key' in text) == (403, True)
    wrong = manager.prefix[:-1] + ('0' if manager.prefix[-1] != '0' else '1')
    assert manager.request(method, f'/{wrong}/api/v1/nni/{word}', '{}')[0] == 403
    assert manager.process.poll() is None


@pytest.mark.skipif(not sys.platform.startswith('linux') or os.geteuid() != 0, reason='needs two users')
@pytest.mark.parametrize('host', ['127.0.0.1', '::1'])
def test_another_user_may_not_even_look(manager, host):
    code = """
import http.client, sys
host, port, prefix = sys.argv[1:]
for start in ('', prefix):
    connection = http.client.HTTPConnection(host, int(port))
    connection.request('GET', start + '/api/v1/nni/version', headers={'Host': 'localhost'})
    print(connection.getresponse().status)
"""
    if host not in {each for each, _ in manager.listening()}:
        pytest.skip('needs IPv6')
    command = ['/usr/bin/env', 'python3', '-I', '-S', '-c', code, host, str(manager.port), f'/{manager.prefix}']
    asked = {}
    for user in (0, 65534):
        done = subprocess.run(command, user=user, cwd='/', env={'PATH': os.defpath}, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f'no Python for user {user}: {done.stderr}')
        asked[user] = done.stdout.split()
    assert asked == {0: ['200', '200'], 65534: ['403', '200']}


@pytest.mark.parametrize('path', KEYED)
def test_without_the_token_there_are_no_channels_and_no_logs(manager, path):
    assert manager.request('GET', path)[0] == 403
    assert manager.request('PUT', path, '{}')[0] == 403


def test_with_the_token_logs_are_shown_and_other_servers_are_not(manager):
    assert 'Start NNI manager' in manager.request('GET', f'/{manager.prefix}/logs/nnimanager.log')[1]
    for path in ('netron', 'netron/index.html', 'NETRON/', 'n%65tron'):
        assert manager.request('GET', f'/{manager.prefix}/{path}')[0] == 403
    assert manager.api('PUT', 'experiment/cluster-metadata', '{}')[0] == 403
    assert manager.process.poll() is None


@pytest.mark.parametrize('path', ['/tuner', '/tuner/any', '/~{}/tuner'.format('0' * 32), '/platform/remote/1', '/'])
def test_websockets_need_the_token(manager, path):
    with pytest.raises(InvalidStatus, match='403'):
        manager.connect(path)


@pytest.mark.parametrize('options', [{'origin': 'http://evil.example'}, {'origin': 'null'}])
def test_websockets_of_other_pages_are_refused_even_with_the_token(manager, options):
    with pytest.raises(InvalidStatus, match='403'):
        manager.connect(f'/{manager.prefix}/tuner', **options)


@pytest.mark.parametrize('way', WAYS_OUT)
@pytest.mark.parametrize('route', ROUTES)
def test_paths_that_lead_elsewhere_are_refused(manager, route, way):
    for prefix in ('', f'/{manager.prefix}'):
        assert manager.request('GET', prefix + route + way.format('etc'))[0] == 400


def test_an_address_with_the_token_alone_leads_to_the_web_ui(manager):
    status, _, answered = manager.request('GET', f'/{manager.prefix}/')
    assert (status, answered['Location']) == (302, f'/{manager.prefix}/oview')
    assert manager.request('GET', f'/{manager.prefix}')[0] == 302
    for page in (f'/{manager.prefix}/oview', f'/{manager.prefix}/detail', '/', '/oview'):
        assert '<div id="root">' in manager.request('GET', page)[1]


def test_the_experiment_is_started_once(start_manager):
    manager = start_manager().wait()
    with manager.experiment():
        assert manager.api('POST', 'experiment', manager.config)[0] == 403


def test_secrets_are_shown_to_those_with_the_token(start_manager):
    manager = start_manager().wait()
    manager.config['trainingService']['machineList'] = [{'host': 'other', 'password': 'open sesame'}]
    assert manager.api('POST', 'experiment', manager.config)[0] == 200
    assert 'open sesame' in manager.api('GET', 'experiment')[1]
    text = manager.request('GET', '/api/v1/nni/experiment')[1]
    assert json.loads(text)['params']['trainingService']['machineList'] == [{'host': 'other', 'password': '***'}]
    listed = manager.root / 'nni-experiments' / '.experiment'
    listed.write_text(json.dumps({'mine': {'id': 'mine', 'pid': manager.process.pid, 'prefixUrl': manager.prefix}}))
    for word in ('experiments-info', 'experiment-metadata'):
        assert manager.prefix in manager.api('GET', word)[1]
        status, text, _ = manager.request('GET', f'/api/v1/nni/{word}')
        assert (status, manager.prefix in text) == (200, False)
        json.loads(text)


def test_a_prefix_of_the_user(start_manager):
    manager = start_manager(prefix='my/own').wait()
    assert manager.request('GET', '/my/own/api/v1/nni/version')[0] == 200
    assert manager.request('DELETE', '/my/own/api/v1/nni/experiment')[0] == 403
    assert manager.request('GET', '/api/v1/nni/version')[0] == 404
    assert manager.request('GET', f'/my/own/~{"0" * 32}/api/v1/nni/version')[0] == 403
    with manager.experiment():
        assert (
            manager.api('PUT', 'experiment?update_type=TRIAL_CONCURRENCY', {'params': {'trialConcurrency': 2}})[0]
            == 200
        )
