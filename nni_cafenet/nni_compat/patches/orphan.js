// The manager ends with the process that started it, however early that happens.
'use strict';

const INTERVAL = 250; // milliseconds between two checks
const GRACE = 15000; // for trials to be stopped

/**
 * Watch the parent process.
 *
 * @param parent  Its id; null: the manager outlives it (nnictl).
 */
function endWithParent(parent) {
    if (parent === null) {
        return;
    }
    const orphaned = () => process.ppid !== parent || !lives(parent);
    if (orphaned()) {
        process.exit(1); // before anything listens
    }
    const timer = setInterval(() => {
        if (orphaned()) {
            clearInterval(timer);
            end();
        }
    }, INTERVAL);
    timer.unref();
}

function lives(pid) {
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        return error.code === 'EPERM';
    }
}

function end() {
    if (global.nni?.shutdown?.processStatus !== 'running') {
        process.exit(1); // there are no trials yet
    }
    process.emit('SIGTERM'); // stops the trials
    setTimeout(() => {
        try {
            process.kill(-process.pid, 'SIGKILL'); // the group, with trials that did not stop
        } finally {
            process.exit(1);
        }
    }, GRACE);
}

module.exports = { endWithParent };
