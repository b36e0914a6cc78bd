// Each trial gets its own parameter.
'use strict';

const { correct } = require('./patches');

// The manager already has the parameters of resumed trials; it only queues new ones.
correct('V3asV1', 'training_service/v3/compat', ['submitTrialJob'], prototype => {
    const submit = prototype.submitTrialJob;
    prototype.submitTrialJob = async function (form) {
        const trial = await submit.call(this, form);
        const place = this.parameters.indexOf(form.hyperParameters.value);
        if (place >= 0) { // a trial takes seconds to start and request it
            this.parameters.splice(place, 1);
            this.allocatedParameters.set(trial.id, form.hyperParameters.value);
        }
        return trial;
    };
});
