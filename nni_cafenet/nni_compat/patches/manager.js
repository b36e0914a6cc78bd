// Loaded by Node before NNI's manager (manager_process.py): all patches.
'use strict';

const settings = JSON.parse(process.env.NNI_CAFENET_MANAGER);
delete process.env.NNI_CAFENET_MANAGER; // trials inherit the environment

require('./orphan').endWithParent(settings.parent);
require('./parameters');
require('./records'); // before ./bad_input, which passes over what fails
require('./bad_input');
require('./page_script');
require('./credentials').install(settings);
require('./listening').install(settings);
