// The user at the other end of a local connection, as Linux reports it.
'use strict';

const fs = require('fs');

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];
const known = new WeakMap(); // socket -> answer

/** Whether another user than that of this process (or root) opened a connection; false if unknown. */
function isOfAnotherUser(socket) {
    if (process.platform !== 'linux') {
        return false;
    }
    if (!known.has(socket)) {
        const users = usersOf(socket.remotePort, socket.localPort);
        known.set(socket, users.some(user => user !== 0 && user !== process.getuid()));
    }
    return known.get(socket);
}

/** Return the ids of the users of the sockets that lead from one port to another; lines are those of proc(5). */
function usersOf(from, to) {
    const [near, far] = [from, to].map(port => (port ?? 0).toString(16).toUpperCase().padStart(4, '0'));
    const users = [];
    for (const table of TABLES) {
        let lines = [];
        try {
            lines = fs.readFileSync(table, 'utf8').split('\n').slice(1);
        } catch {
            // Not available: then only the token counts.
        }
        for (const [, local, remote, , , , , user] of lines.map(line => line.trim().split(/\s+/))) {
            if (local?.endsWith(`:${near}`) && remote?.endsWith(`:${far}`)) {
                users.push(Number(user));
            }
        }
    }
    return users;
}

module.exports = { isOfAnotherUser };
