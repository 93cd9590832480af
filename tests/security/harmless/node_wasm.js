// A WebAssembly module and optimised code: executable memory for V8.
// expect-status: ok
// expect-stdout: 42 499999500000
const bytes = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 42, 11]);
const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
let sum = 0;
for (let n = 0; n < 1e6; n += 1) sum += n;
console.log(instance.exports.f(), sum);
