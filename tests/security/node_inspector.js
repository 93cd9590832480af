// Opens its own inspector by SIGUSR1 and looks for those of others.
// attacks: debuggers on the shared loopback
// expect-status: ok
// expect-stdout: HELD
const http = require('http');
const look = (what) => new Promise((resolve) => {
  http.get({ host: '127.0.0.1', port: 9229, path: '/json', timeout: 1000 }, (answer) => { answer.resume(); resolve(true); })
    .on('error', () => resolve(false)).on('timeout', () => resolve(false));
});
(async () => {
  if (await look()) breach('the inspector of another process answers');
  process.kill(process.pid, 'SIGUSR1');
  for (const target of [1, process.ppid]) {
    try { process.kill(target, 'SIGUSR1'); } catch (error) { say(`refused ${target}: ${error.code}`); }
  }
  // It listens on the loopback of this cell only; the canary of the harness knows whether more was reached.
  for (let n = 0; n < 20 && !(await look()); n += 1) await new Promise((r) => setTimeout(r, 50));
  verdict();
  process.exit(0);
})();
