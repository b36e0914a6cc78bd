// Trials with names, and trials that have ended before they were announced.
//
// NNI shows results of trials only, and a trial is a process that takes seconds to start. What a strategy has found by other means, such as
// the score of some widths, it may announce as a trial with `ended: {start, end, final}` (milliseconds, metrics) in its parameters: such a
// record is kept in the database like a trial that has succeeded. It takes no place among those that run, nor of `max_trial_number`.
// A trial with a `name` in its parameters has it in its ID, which all tables show.
'use strict';

const crypto = require('crypto');
const { correct } = require('./patches');

const NAME = /^[\w-]{1,40}$/;

function parametersOf(text) {
    try {
        return Object(Object(JSON.parse(text)).parameters);
    } catch {
        return {};
    }
}

const isRecord = text => parametersOf(text).ended !== undefined;

function idOf(text) {
    const { name } = parametersOf(text);
    const random = crypto.randomBytes(3).toString('hex').slice(0, 5);
    return typeof name === 'string' && NAME.test(name) ? `${name}-${random}` : null;
}

correct('NNIManager', 'core/nnimanager', ['onTunerCommand', 'addRecoveredTrialJob'], prototype => {
    const onCommand = prototype.onTunerCommand;
    prototype.onTunerCommand = async function (type, content) {
        if (type === 'TR' && isRecord(content)) {
            await keep(this, content);
            return;
        }
        await onCommand.call(this, type, content);
    };

    async function keep(manager, text) {
        const { parameters, parameter_id: parameter } = JSON.parse(text);
        const { start, end, final } = Object(parameters.ended);
        if (![start, end].every(Number.isFinite) || typeof final?.default !== 'number') {
            throw new Error('ended: {start, end, final: {default, ...}}');
        }
        const id = idOf(text) ?? crypto.randomBytes(4).toString('hex');
        const form = { sequenceId: manager.experimentProfile.nextSequenceId++, hyperParameters: { value: text, index: 0 } };
        const job = { id, status: 'SUCCEEDED', submitTime: start, startTime: start, endTime: end, form };
        const metric = { trial_job_id: id, parameter_id: parameter, type: 'FINAL', sequence: 0, value: JSON.stringify(final) };
        await manager.dataStore.storeMetricData(id, JSON.stringify(metric)); // first: the pages expect results of trials that succeeded
        await manager.dataStore.storeTrialJobEvent('WAITING', id, text, job);
        await manager.dataStore.storeTrialJobEvent('SUCCEEDED', id, undefined, job);
    }

    // NNI counts on from the trials that it resumes, and gives their numbers twice.
    const recover = prototype.addRecoveredTrialJob;
    prototype.addRecoveredTrialJob = function (jobs) {
        this.currSubmittedTrialNum -= jobs.filter(job => isRecord(job.hyperParameters?.[0])).length;
        const number = recover.call(this, jobs);
        const next = 1 + Math.max(-1, ...jobs.map(job => job.sequenceId ?? -1));
        this.experimentProfile.nextSequenceId = Math.max(next, this.experimentProfile.nextSequenceId);
        return number;
    };
});

correct('V3asV1', 'training_service/v3/compat', ['submitTrialJob'], prototype => {
    const submit = prototype.submitTrialJob;
    prototype.submitTrialJob = async function (form) { // the manager submits one after the other
        const create = this.v3.createTrial;
        const name = idOf(form.hyperParameters.value) ?? undefined;
        this.v3.createTrial = (env, command, folder, number, id) => create.call(this.v3, env, command, folder, number, id ?? name);
        try {
            return await submit.call(this, form);
        } finally {
            this.v3.createTrial = create;
        }
    };
});
