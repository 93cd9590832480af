// Child processes: spawn with pipes, exec, fork with messages, exit codes.
// expect-status: ok
// expect-stdout: HELLO 3 pong
// limits: {"memory_mb": 512}
// timeout: 20
const { execFileSync, spawnSync, fork } = require('child_process');
const fs = require('fs');
const shout = execFileSync('tr', ['a-z', 'A-Z'], { input: 'hello' }).toString();
const code = spawnSync('bash', ['-c', 'exit 3']).status;
fs.writeFileSync('child.js', 'process.on("message", (m) => { process.send(m === "ping" ? "pong" : "?"); process.disconnect(); });');
const child = fork('./child.js');
child.on('message', (message) => console.log(shout, code, message));
child.send('ping');
