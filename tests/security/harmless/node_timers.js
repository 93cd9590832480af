// Timers, immediates, microtasks and abort signals, in their order.
// expect-status: ok
// expect-stdout: tick promise immediate timer aborted
const order = [];
setImmediate(() => { order.push('immediate'); setTimeout(() => order.push('timer'), 5); });
Promise.resolve().then(() => order.push('promise'));
process.nextTick(() => order.push('tick'));
require('timers/promises').setTimeout(5000, null, { signal: AbortSignal.timeout(500) })
  .catch(() => { order.push('aborted'); console.log(order.join(' ')); });
