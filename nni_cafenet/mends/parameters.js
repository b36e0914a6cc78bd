// Loaded by Node before NNI's manager: see parameters.py.
'use strict';

const Module = require('module');

// Trials inherit the manager's environment. They get it as it was.
const options = (process.env.NODE_OPTIONS || '').replace(/^--require "(?:[^"\\]|\\.)*" ?/, '');
if (options) {
    process.env.NODE_OPTIONS = options;
} else {
    delete process.env.NODE_OPTIONS;
}

const load = Module._load;
Module._load = function (...args) {
    const loaded = load.apply(this, args);
    const service = loaded && typeof loaded === 'object' ? loaded.V3asV1 : undefined;
    if (typeof service === 'function' && !Object.hasOwn(service, 'ownParameters')) {
        service.ownParameters = true;
        giveEachTrialItsOwn(service.prototype);
    }
    return loaded;
};

// The manager already knows parameters that belong to a trial (of trials that it resumes); it only queues new ones.
function giveEachTrialItsOwn(prototype) {
    const submit = prototype.submitTrialJob;
    prototype.submitTrialJob = async function (form) {
        const trial = await submit.call(this, form);
        const place = this.parameters.indexOf(form.hyperParameters.value);
        if (place >= 0) { // a trial takes seconds to start and ask
            this.parameters.splice(place, 1);
            this.allocatedParameters.set(trial.id, form.hyperParameters.value);
        }
        return trial;
    };
}
