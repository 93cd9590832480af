// Starts child processes until refused.
// attacks: the bound on processes through child_process
// expect-status: ok
// expect-stdout: HELD
// limits: {"pids": 48}
// timeout: 20
// control: breach
const { spawn } = require('child_process');
const children = [];
let refusal = null;
for (let n = 0; n < 150 && refusal === null; n += 1) {
  const child = spawn('/bin/sleep', ['20'], { stdio: 'ignore', argv0: HOST.SURVIVOR });
  child.on('error', () => {});
  if (child.pid === undefined) refusal = n; else children.push(child);
}
say(`refused after ${refusal}`);
if (children.length > Number(HOST.LIMIT_PIDS)) breach(`${children.length} children at once`);
children.forEach((child) => child.kill('SIGKILL'));
verdict();
