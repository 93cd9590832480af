// Takes and fills buffers outside V8's heap, up to 2 GiB.
// attacks: the bound on memory, where V8's own limit does not look
// expect-status: oom
// degraded-expect-status: oom|error|killed
// degraded: skip (V8 reserves far more than it uses, so no bound per process is possible)
// limits: {"memory_mb": 160}
const blocks = [];
while (blocks.length < 128) blocks.push(Buffer.alloc(16 << 20, 1));
breach(`${blocks.length * 16} MiB held`);
