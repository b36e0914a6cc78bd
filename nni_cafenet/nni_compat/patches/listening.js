// Where the manager listens: on loopback, and on one more address if the user names it. Nothing listens unguarded.
'use strict';

const http = require('http');
const net = require('net');
const os = require('os');
const { missing } = require('./patches');
const { guard } = require('./guard');

const LOOPBACK = '127.0.0.1';
const EVERYWHERE = ['0.0.0.0', '::'];
const NO_IPV6 = ['EADDRNOTAVAIL', 'EAFNOSUPPORT'];

/** Make every server of this process listen on permitted addresses, behind the guard. */
function install(settings) {
    const listen = net.Server.prototype.listen;
    let checked = false;

    net.Server.prototype.listen = function (...args) {
        const port = portOf(args);
        if (port === undefined) {
            return listen.apply(this, args); // a socket file
        }
        if (!checked) {
            const names = missing();
            if (names.length) {
                refuse(settings, `this build of NNI has no ${names.join(', ')} that could be corrected`);
            }
            checked = true;
        }
        if (this instanceof http.Server) {
            guard(this, { ...settings, hosts: hostsOf(settings.address), isMain: port === settings.port });
        }
        const [first, ...others] = addressesOf(settings.address);
        this.once('listening', () => {
            for (const host of others) {
                further(this, host);
            }
        });
        return listen.call(this, { port, host: first }, args.find(each => typeof each === 'function'));
    };

    function further(server, host) {
        const { port } = server.address();
        const other = net.createServer({ allowHalfOpen: true }, socket => server.emit('connection', socket));
        other.on('error', error => {
            if (!(host === '::1' && NO_IPV6.includes(error.code))) {
                refuse(settings, `port ${port} of ${host} cannot be listened on (${error.code})`);
            }
        });
        server.once('close', () => other.close());
        const close = server.close;
        server.close = function (...args) {
            other.close();
            return close.apply(this, args);
        };
        listen.call(other, { port, host, ipv6Only: true });
    }
}

function portOf([first]) {
    if (first !== null && typeof first === 'object') {
        return first.path === undefined ? Number(first.port ?? 0) : undefined;
    }
    return typeof first === 'string' && !/^\d+$/.test(first) ? undefined : Number(first ?? 0) || 0;
}

/** Return the addresses to listen on, the first of which must exist. */
function addressesOf(address) {
    if (address === null || [LOOPBACK, '::1', 'localhost'].includes(address)) {
        return [LOOPBACK, '::1'];
    }
    return EVERYWHERE.includes(address) ? [address] : [LOOPBACK, '::1', address];
}

/** Return the host names by which a browser or a trial may address this machine. */
function hostsOf(address) {
    const hosts = ['localhost', LOOPBACK, '::1'];
    if (EVERYWHERE.includes(address)) {
        const interfaces = Object.values(os.networkInterfaces()).flat().map(each => each.address.split('%')[0]);
        hosts.push(...interfaces, os.hostname());
    } else if (address !== null) {
        hosts.push(address);
    }
    return hosts.map(host => host.toLowerCase());
}

/** Write why nothing may listen, for `manager_process.py`, and exit. */
function refuse(settings, why) {
    require('fs').writeFileSync(settings.refusal, why);
    console.error(`The NNI manager does not start: ${why}.`);
    process.exit(1);
}

module.exports = { install };
