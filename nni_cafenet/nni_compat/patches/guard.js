// Access control of the manager.
//
// From this machine the user may read what the web UI shows; a web page of another origin may not. Requests that change something,
// open a WebSocket, read logs or come from another machine need the token in the address: `/~TOKEN/api/v1/nni/...`.
'use strict';

const fs = require('fs');
const http = require('http');
const { rightsOf } = require('./credentials');
const { isOfAnotherUser } = require('./peers');
const { hideSecrets } = require('./secrets');

const API = ['api', 'v1', 'nni'];
const READS = [
    'check-status', 'experiment', 'experiment-metadata', 'experiment/imported-data', 'experiments-info', 'export-data',
    'job-statistics', 'metric-data', 'metric-data/*', 'metric-data-latest', 'metric-data-range/*/*', 'tensorboard-tasks',
    'tensorboard/*', 'trial-file/*/stderr', 'trial-file/*/stdout', 'trial-file/*/trial.log', 'trial-jobs', 'trial-jobs/*',
    'version',
].map(pattern => pattern.split('/'));
const PAGES = ['', 'oview', 'detail', 'experiment', ...(fs.existsSync('static') ? fs.readdirSync('static') : [])];
const EVENTS = { request: false, checkContinue: false, checkExpectation: false, upgrade: true, connect: true };
const HEADERS = {
    'Content-Security-Policy': "frame-ancestors 'self'",
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
};

const guarded = new WeakMap(); // server -> settings
const emit = http.Server.prototype.emit;

http.Server.prototype.emit = function (event, request, response, ...rest) {
    const settings = guarded.get(this);
    if (settings === undefined || !Object.hasOwn(EVENTS, event)) {
        return emit.call(this, event, request, response, ...rest);
    }
    const isSocket = EVENTS[event];
    const verdict = judge(request, isSocket, settings);
    if (!isSocket) {
        Object.entries(HEADERS).forEach(([name, value]) => response.setHeader(name, value));
    }
    if (verdict.status !== undefined) {
        answer(verdict, response, isSocket);
        return true;
    }
    if (!isSocket && verdict.hidesSecrets) {
        hideSecrets(response);
    }
    request.url = verdict.url;
    return emit.call(this, event, request, response, ...rest);
};

/** Make a server answer only permitted requests. */
function guard(server, settings) {
    guarded.set(server, { ...settings, started: false });
}

function answer({ status, why, location }, response, isSocket) {
    if (isSocket) {
        response.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`);
        return;
    }
    response.writeHead(status, location ? { Location: location } : { 'Content-Type': 'application/json', Connection: 'close' });
    response.end(location ? undefined : JSON.stringify({ error: why }));
}

const no = (why, status = 403) => ({ status, why });

/** Return `{url}` of a permitted request, or `{status, why}`. */
function judge(request, isSocket, settings) {
    const foreign = foreignness(request, settings.hosts);
    if (foreign) {
        return no(foreign);
    }
    if (!settings.isMain) { // servers for other training services, whose clients have no token, but are not browsers
        return request.headers.origin === undefined ? { url: request.url } : no('This port is not for browsers.');
    }
    const [path, query] = cut(request.url);
    const segments = segmentsOf(path);
    if (segments === null) {
        return no('This is no path here.', 400);
    }
    const prefix = settings.prefix ? settings.prefix.split('/') : [];
    if (prefix.some((segment, at) => segments[at] !== segment)) {
        return no(`Outside prefix "/${settings.prefix}"`, 404);
    }
    let rest = segments.slice(prefix.length);
    let rights = null;
    if (rest[0]?.startsWith('~')) {
        const key = rest[0];
        rest = rest.slice(1);
        rights = rightsOf(key, rest.join('/'));
        if (rights === null) {
            return no('This key does not fit, or no longer.');
        }
        if (rest.join('') === '' && request.method === 'GET' && !isSocket) {
            return { status: 302, location: `/${[...prefix, key, 'oview'].join('/')}` };
        }
    }
    const why = rights === null ? whyNotWithoutKey(request, rest, isSocket) : whyNotAtAll(request, rest, settings);
    return why ? no(why) : { url: '/' + [...prefix, ...rest].join('/') + query, hidesSecrets: rights === null };
}

/** Return why a request is from a foreign web page, or null. */
function foreignness({ headers, rawHeaders }, hosts) {
    const named = rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length;
    const host = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(:\d+)?$/.exec((headers.host ?? '').toLowerCase());
    if (named !== 1 || host === null || !hosts.includes(host[1].replace(/[[\]]/g, ''))) {
        return 'This server does not go by that Host.';
    }
    if (headers.origin !== undefined && headers.origin.toLowerCase() !== `http://${host[0]}`) {
        return 'Pages of another Origin may not ask here.';
    }
    const site = headers['sec-fetch-site'];
    const isVisit = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
    if (site !== undefined && !['same-origin', 'none'].includes(site) && !isVisit) {
        return 'Pages of another site may not ask here.';
    }
    return null;
}

function cut(url) {
    const at = url.indexOf('?');
    return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at)];
}

/** Return the raw segments of a path; null if one of them could lead elsewhere. */
function segmentsOf(path) {
    if (!path.startsWith('/') || path.includes('#')) {
        return null;
    }
    const segments = path.slice(1).split('/');
    for (const [at, segment] of segments.entries()) {
        let name;
        try {
            name = decodeURIComponent(segment);
        } catch {
            return null;
        }
        const isLast = at === segments.length - 1;
        if (['.', '..'].includes(name) || /[/\\\0]/.test(name) || (name === '' && !isLast)) {
            return null;
        }
    }
    return segments;
}

function whyNotWithoutKey({ method, socket }, segments, isSocket) {
    if (!/^(::ffff:)?127\.|^::1$/.test(socket.remoteAddress ?? '')) {
        return 'From another machine, everything needs the key: open the address that was printed when the experiment started.';
    }
    const needsKey = 'This needs the key: open the address that was printed when the experiment started.';
    if (isOfAnotherUser(socket) || isSocket || !['GET', 'HEAD'].includes(method)) {
        return needsKey;
    }
    if (API.every((segment, at) => segments[at] === segment)) {
        const name = segments.slice(API.length).filter(segment => segment !== '');
        return READS.some(read => matches(name, read)) ? null : needsKey;
    }
    return PAGES.includes(segments[0] ?? '') ? null : needsKey;
}

function matches(name, pattern) {
    return name.length === pattern.length && pattern.every((segment, at) => segment === '*' || segment === name[at]);
}

function whyNotAtAll({ method }, segments, settings) {
    const path = segments.filter(segment => segment !== '').map(segment => decodeURIComponent(segment).toLowerCase()).join('/');
    if (/^netron(\/|$)/.test(path)) {
        return 'Pages of other servers are not shown here: their code could do all that this page can.';
    }
    if (method === 'PUT' && path === 'api/v1/nni/experiment/cluster-metadata') {
        return 'This would end an experiment of NNI 3.';
    }
    if (method === 'POST' && path === 'api/v1/nni/experiment') {
        if (settings.started) {
            return 'The experiment has been started already.';
        }
        settings.started = true;
    }
    return null;
}

module.exports = { guard };
