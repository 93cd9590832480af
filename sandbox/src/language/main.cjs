{
  const fs = require('fs'), path = '/box/main.js';
  const commit = () => { fs.writeSync(3, 'x'); fs.closeSync(3); };
  process.argv[1] = path;
  let plain = true;
  try {
    const source = fs.readFileSync(path, 'utf8').replace(/^#!.*/, '');
    new (require('vm').Script)(require('module').wrap(source), { filename: path });
  } catch { plain = false; }
  if (plain) {
    commit();
    require('module').runMain();
  } else {
    // Modules are linked, and so parsed, as a whole before any of them runs: the first import below
    // is evaluated, and says that the source compiled, only when the second one could be parsed.
    process.argv[1] = '/box/main.mjs';
    fs.renameSync(path, process.argv[1]);
    globalThis.__cell_commit = () => { delete globalThis.__cell_commit; commit(); };
    const entry = 'import "data:text/javascript,globalThis.__cell_commit()";' +
      'import "file:///box/main.mjs";';
    import('data:text/javascript,' + encodeURIComponent(entry));
  }
}
