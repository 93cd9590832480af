// Grows WebAssembly memories and touches every page, up to 2 GiB.
// attacks: the bound on memory through WebAssembly
// expect-status: ok|oom|error|killed
// degraded: skip (V8 reserves far more than it uses, so no bound per process is possible)
// limits: {"memory_mb": 160}
let held = 0;
const memories = [];
try {
  while (held < 2 << 30 >>> 0 && memories.length < 32) {
    const memory = new WebAssembly.Memory({ initial: 1024 });
    new Uint8Array(memory.buffer).fill(1);
    memories.push(memory);
    held += 64 << 20;
  }
} catch (error) {
  say(`refused at ${held >> 20} MiB: ${error.message}`);
}
if (held > Number(HOST.LIMIT_MEMORY)) breach(`${held / 1048576} MiB held`);
verdict();
