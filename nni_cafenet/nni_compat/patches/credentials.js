// The part of an address that grants write access: `/~TOKEN/...` to all paths, `/~KEY/path` to one path only.
'use strict';

const crypto = require('crypto');
const { correct } = require('./patches');

let token = null;

/** Add keys to the addresses for trials, workers on other machines and tuner processes. */
function install(settings) {
    token = settings.token;

    correct('RestManager', 'common/globals/rest', ['getFullUrl', 'urlJoin'], prototype => {
        const full = prototype.getFullUrl;
        prototype.getFullUrl = function (protocol, ip, ...parts) {
            const path = this.urlJoin(...parts);
            return full.call(this, protocol, ip, keyOf(path), path);
        };
    });

    correct('getTunerProc', 'common/utils', [], original => function (command, stdio, cwd, env, ...rest) {
        if (env?.NNI_TUNER_COMMAND_CHANNEL) {
            const channel = env.NNI_TUNER_COMMAND_CHANNEL.replace(/tuner$/, `${keyOf('tuner')}/tuner`);
            env = { ...env, NNI_TUNER_COMMAND_CHANNEL: channel };
        }
        return original.call(this, command, stdio, cwd, env, ...rest);
    });
}

/** Return the key for one path. */
function keyOf(path) {
    return '~' + crypto.createHmac('sha256', token).update(path).digest('hex').slice(0, 32);
}

/** Return the access that a first segment `~...` grants: 'all', 'path' (this one path), or null. */
function rightsOf(segment, path) {
    if (same(segment, `~${token}`)) {
        return 'all';
    }
    return same(segment, keyOf(path)) ? 'path' : null;
}

function same(left, right) {
    const digests = [left, right].map(text => crypto.createHash('sha256').update(text).digest());
    return crypto.timingSafeEqual(...digests);
}

module.exports = { install, rightsOf };
