// Writes 64 MiB to standard error.
// attacks: the memory of whoever reads the output
// expect-status: output_limit
// limits: {"output_kb": 64}
const chunk = 'flood '.repeat(10000);
for (let n = 0; n < 1100; n += 1) fs.writeSync(2, chunk);
