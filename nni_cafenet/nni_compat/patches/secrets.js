// Responses to clients without a key contain no keys, and no passwords of other machines.
'use strict';

const KEY = /~[0-9a-zA-Z_-]{22,}/g; // as in the logs of trials
const SECRET = /passw|passphrase|secret|token|key$|prefixurl/i;

/** Remove secrets from the final chunk of a response; NNI sends the whole content in it. */
function hideSecrets(response) {
    const end = response.end;
    response.end = function (content, ...rest) {
        if (typeof content !== 'string' && !Buffer.isBuffer(content)) {
            return end.call(this, content, ...rest);
        }
        const type = String(this.getHeader('Content-Type') ?? '');
        if (!/json|text\/plain/.test(type)) {
            return end.call(this, content, ...rest);
        }
        const cleaned = Buffer.from(clean(Buffer.from(content).toString('utf8'), type.includes('json')));
        if (!this.headersSent && this.hasHeader('Content-Length')) {
            this.setHeader('Content-Length', cleaned.length);
        }
        return end.call(this, cleaned, ...rest.filter(each => typeof each === 'function'));
    };
}

function clean(text, isJson) {
    let cleaned = text;
    if (isJson && SECRET.test(text)) {
        try {
            cleaned = JSON.stringify(JSON.parse(text, (name, value) => (
                SECRET.test(name) && typeof value === 'string' ? '***' : value
            )));
        } catch {
            // An error message.
        }
    }
    return cleaned.replace(KEY, key => '~' + '*'.repeat(key.length - 1));
}

module.exports = { hideSecrets };
