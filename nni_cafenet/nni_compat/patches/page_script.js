// The pages stay when results of a trial arrive before the trial itself.
//
// A page asks for trials and for results at the same time. A trial that starts in between has results and nothing else until it asks
// again; the Intermediate result tab reads its ID all the same, and the error leaves the whole page blank until it is loaded anew.
'use strict';

const fs = require('fs');
const path = require('path');
const { correct } = require('./patches');

const ADDRESS = /\/(static\/js\/main\.\w+\.js)$/;
const ALL_TRIALS = /(allTrialsIntermediateChart\(\)\{[^}]*?\bof this\.)trials\.values\(\)/;

/** Return the script of the pages with the correction; another build's script as it is. */
function corrected(script) {
    return script.replace(ALL_TRIALS, '$1toArray()'); // those that the page knows
}

correct('RestServer', 'rest_server', ['start'], prototype => {
    const start = prototype.start;
    prototype.start = function () {
        global.nni.rest.getExpressApp().get(ADDRESS, (request, response, next) => {
            const file = path.resolve('static', ADDRESS.exec(request.path)[1]);
            fs.readFile(file, 'utf8', (error, script) => error ? next() : response.type('js').send(corrected(script)));
        });
        return start.call(this);
    };
});

module.exports = { corrected };
