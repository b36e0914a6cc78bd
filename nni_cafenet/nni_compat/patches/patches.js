// Classes and functions of NNI's manager are patched as soon as its modules are loaded; nothing on disk is changed.
'use strict';

const Module = require('module');
const path = require('path');

const patches = new Map(); // name of an export -> its patch, and its module
const applied = new Set();

/**
 * Patch an export of NNI's manager.
 *
 * @param name     Name of the export: a class, or a function.
 * @param file     Its module, relative to the folder of the manager.
 * @param methods  Methods that the class must have.
 * @param patch    Called with the prototype of the class; for a function it returns the replacement.
 */
function correct(name, file, methods, patch) {
    if (!patches.has(name)) {
        patches.set(name, { file, methods: [], patches: [] });
    }
    patches.get(name).methods.push(...methods);
    patches.get(name).patches.push(patch);
}

function apply(exported) {
    for (const [name, wanted] of patches) {
        if (applied.has(name) || typeof exported[name] !== 'function') {
            continue;
        }
        const prototype = exported[name].prototype;
        if (wanted.methods.some(method => typeof prototype?.[method] !== 'function')) {
            continue; // `missing` names it
        }
        applied.add(name);
        for (const patch of wanted.patches) {
            const replaced = patch(wanted.methods.length ? prototype : exported[name]);
            if (replaced !== undefined) {
                exported[name] = replaced;
            }
        }
    }
}

/** Load modules that NNI would load later, and return the exports that could not be patched. */
function missing() {
    const names = [...patches.keys()].filter(name => !applied.has(name));
    const here = Module.createRequire(path.resolve(process.argv[1]));
    for (const name of names) {
        try {
            here(`./${patches.get(name).file}`);
        } catch (error) {
            return [`${name} (${error.message.split('\n')[0]})`];
        }
    }
    return names.filter(name => !applied.has(name));
}

const load = Module._load;
Module._load = function (...args) {
    const loaded = load.apply(this, args);
    if (loaded && typeof loaded === 'object' && applied.size < patches.size) {
        apply(loaded);
    }
    return loaded;
};

module.exports = { correct, missing };
