// Files placed beside the program that Node would read before it by itself.
// attacks: .noderc, .npmrc, .env, node_modules that shadow the standard library
// file: .noderc.js "console.log('BREACH noderc ran')\n"
// file: .env "NODE_OPTIONS=--require=/box/evil.js\n"
// file: evil.js "console.log('BREACH preloaded')\n"
// file: node_modules/fs/index.js "console.log('BREACH fs replaced')\n"
// file: node_modules/node:fs/index.js "console.log('BREACH node:fs replaced')\n"
// expect-status: ok
// expect-stdout: HELD
require('fs');
require('node:fs');
if (process.env.NODE_OPTIONS) breach(`NODE_OPTIONS is ${process.env.NODE_OPTIONS}`);
if (process.execArgv.some((a) => a.includes('inspect'))) breach('inspector is open');
verdict();
