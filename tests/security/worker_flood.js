// Starts worker threads until refused; Node may abort when the kernel refuses a thread.
// attacks: the bound on processes by V8 isolates
// expect-status: ok|error|killed
// limits: {"pids": 40, "memory_mb": 1024}
// timeout: 20
const { Worker } = require('worker_threads');
const threads = () => Number(/Threads:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
const source = 'setTimeout(() => {}, 20000)';
let started = 0;
const more = () => {
  if (threads() > Number(HOST.LIMIT_PIDS)) { breach(`${threads()} threads at once`); process.exit(0); }
  if (started >= 80) { breach('80 workers'); process.exit(0); }
  started += 1;
  const worker = new Worker(source, { eval: true });
  worker.on('online', more);
  worker.on('error', (error) => { say(`refused after ${started}: ${error.code}`); verdict(); process.exit(0); });
};
more();
