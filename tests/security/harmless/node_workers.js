// Worker threads with shared memory and Atomics.
// expect-status: ok
// expect-stdout: 4
// limits: {"memory_mb": 512}
const { Worker } = require('worker_threads');
const shared = new SharedArrayBuffer(4);
const source = 'const { workerData } = require("worker_threads"); Atomics.add(new Int32Array(workerData), 0, 1);';
const run = () => new Promise((resolve, reject) => {
  new Worker(source, { eval: true, workerData: shared }).on('exit', resolve).on('error', reject);
});
Promise.all([run(), run(), run(), run()]).then(() => console.log(new Int32Array(shared)[0]));
