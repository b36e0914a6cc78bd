// Two trials are submitted to NNI's own class, and the second asks for its parameter first.
'use strict';

const { createRequire } = require('module');

const here = createRequire(`${process.cwd()}/main.js`); // the folder of NNI's manager
here('app-module-path').addPath(process.cwd());
here('common/globals').globals.args = { logLevel: 'critical' };
const { V3asV1 } = here('training_service/v3/compat');

async function main() {
    const got = {};
    let request;
    const manager = Object.create(V3asV1.prototype);
    Object.assign(manager, {
        config: {}, trialJobs: {}, parameters: [], allocatedParameters: new Map(), environments: [], lastEnvId: '',
        startDeferred: { resolve() { }, promise: Promise.resolve() },
    });
    const listen = ['onMetric', 'onTrialStart', 'onTrialEnd', 'onEnvironmentUpdate', 'uploadDirectory', 'init'];
    manager.v3 = Object.fromEntries(listen.map(name => [name, async () => undefined]));
    Object.assign(manager.v3, {
        start: async () => [{ id: 'env', host: 'here' }],
        createTrial: async (...args) => `trial${args[3]}`,
        onRequestParameter: callback => { request = callback; },
        sendParameter: async (trial, parameter) => { got[trial] = parameter; },
    });
    await manager.start();
    const forms = [0, 1].map(i => ({ sequenceId: i, hyperParameters: { value: `parameter${i}`, index: 0 } }));
    for (const form of forms) {
        await manager.submitTrialJob(form);
    }
    await request('trial1');
    await request('trial0');
    console.log(JSON.stringify({ ...got, left: manager.parameters.length }));
}

main();
