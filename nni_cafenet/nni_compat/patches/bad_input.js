// Input from outside can neither end the manager nor reach files outside of a trial's folder.
'use strict';

const fs = require('fs/promises');
const path = require('path');
const { correct } = require('./patches');

const INTERNAL = /^(__|error$)/; // names of events of the channel itself

correct('WsConnection', 'common/command_channel/websocket/connection', ['handleMessage'], prototype => {
    const handle = prototype.handleMessage;
    prototype.handleMessage = function (data, isBinary) {
        const command = parsed(String(data));
        if (typeof command?.type !== 'string' || INTERNAL.test(command.type)) {
            this.log.warning('Passed over a message that is no command.');
            return;
        }
        handle.call(this, data, isBinary);
    };
});

// The strategy has one channel; another one would replace it.
correct('WsChannelServer', 'common/command_channel/websocket/server', ['handleConnection'], prototype => {
    const handle = prototype.handleConnection;
    prototype.handleConnection = function (channel, ws) {
        if (this.path === 'tuner' && channel !== '__default__') {
            this.log.warning('Refused a second channel for a strategy.');
            ws.close(4003, 'There is one channel for the strategy: /tuner');
            return;
        }
        handle.call(this, channel, ws);
    };
});

const MANAGER = ['onTunerCommand', 'onTrialJobMetrics', 'addCustomizedTrialJob', 'cancelTrialJobByUser', 'updateExperimentProfile'];

correct('NNIManager', 'core/nnimanager', MANAGER, prototype => {
    const onCommand = prototype.onTunerCommand;
    prototype.onTunerCommand = async function (type, content) {
        const made = type === 'TR' ? parsed(content) : null;
        if (made !== null && !(Object.hasOwn(Object(made), 'parameter_id') && Object.hasOwn(made, 'parameter_index'))) {
            this.log.error('Passed over a trial whose parameters are none.');
            return;
        }
        try {
            await onCommand.call(this, type, content);
        } catch (error) {
            this.log.error(`Passed over a command (${type}) that failed:`, error);
        }
    };

    const onMetrics = prototype.onTrialJobMetrics;
    prototype.onTrialJobMetrics = async function (metric) {
        if (parsed(metric?.data)?.trial_job_id !== metric?.id) {
            this.log.warning('Passed over a metric that is none, or of another trial:', metric?.id);
            return;
        }
        await onMetrics.call(this, metric);
    };

    const addTrial = prototype.addCustomizedTrialJob;
    prototype.addCustomizedTrialJob = function (parameters) {
        if (this.config?.executionEngine !== undefined) {
            const why = 'The trials of a NAS experiment are models that its strategy makes: none can be added by hand.';
            return Promise.reject(new Error(why));
        }
        return addTrial.call(this, parameters);
    };

    const cancel = prototype.cancelTrialJobByUser;
    prototype.cancelTrialJobByUser = async function (trial) {
        if (!(await this.dataStore.listTrialJobs()).some(job => job.trialJobId === trial)) {
            throw new Error('There is no such trial.');
        }
        await cancel.call(this, trial);
    };

    const update = prototype.updateExperimentProfile;
    prototype.updateExperimentProfile = function (profile, type) {
        const why = problemOf(profile?.params, type);
        return why ? Promise.reject(new Error(why)) : update.call(this, profile, type);
    };
});

function problemOf(params, type) {
    if (params === null || typeof params !== 'object') {
        return 'The experiment profile has no params.';
    }
    const { trialConcurrency, maxTrialNumber, maxExperimentDuration, searchSpace } = params;
    const isCount = value => Number.isInteger(value) && value > 0;
    const isDuration = value => isCount(value) || /^\d+(\.\d+)?\s*[smhd]?$/.test(value);
    const right = {
        TRIAL_CONCURRENCY: () => isCount(trialConcurrency),
        MAX_TRIAL_NUM: () => maxTrialNumber === undefined || isCount(maxTrialNumber),
        MAX_EXEC_DURATION: () => maxExperimentDuration === undefined || isDuration(maxExperimentDuration),
        SEARCH_SPACE: () => searchSpace !== null && typeof searchSpace === 'object',
    };
    if (!Object.hasOwn(right, type)) {
        return `update_type: one of ${Object.keys(right).join(', ')}`;
    }
    return right[type]() ? null : `update_type=${type}: the value in params is none.`;
}

correct('V3asV1', 'training_service/v3/compat', ['getTrialFile'], prototype => {
    const get = prototype.getTrialFile;
    prototype.getTrialFile = async function (trial, name) {
        if (!/^[\w-]+$/.test(trial)) {
            throw new Error('There is no such trial.');
        }
        const given = { stderr: 'trial.stderr', stdout: 'trial.stdout' }[name] ?? name;
        const folder = await fs.realpath(await this.v3.downloadTrialDirectory(trial));
        const file = await fs.realpath(path.join(folder, given)).catch(() => null);
        if (file === null || !file.startsWith(folder + path.sep)) {
            throw new Error('There is no such file in the folder of the trial.');
        }
        return get.call(this, trial, name);
    };
});

const TENSORBOARD = ['startTensorboardTask', 'getTensorboardStartCommand'];

correct('NNITensorboardManager', 'extensions/nniTensorboardManager', TENSORBOARD, prototype => {
    const start = prototype.startTensorboardTask;
    prototype.startTensorboardTask = async function (parameters) {
        const trials = String(parameters?.trials ?? '').split(',');
        const known = new Set((await this.nniManager.listTrialJobs()).map(job => job.trialJobId));
        if (!trials.every(trial => /^\w+$/.test(trial) && known.has(trial))) {
            throw new Error('trials: ids of trials of this experiment, separated by commas');
        }
        return start.call(this, { trials: trials.join(',') });
    };

    const command = prototype.getTensorboardStartCommand;
    prototype.getTensorboardStartCommand = async function (...args) {
        const words = await command.apply(this, args);
        return words.map(word => word.replace('--bind_all', '--host 127.0.0.1')); // NNI makes it listen on all addresses
    };
});

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}
