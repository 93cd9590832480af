// Promises of the file system, streams, watching, temporary folders.
// expect-status: ok
// expect-stdout: content 300000 true
const fs = require('fs');
const { pipeline } = require('stream/promises');
const zlib = require('zlib');
const os = require('os');
const path = require('path');
(async () => {
  const folder = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'x-'));
  await fs.promises.writeFile(path.join(folder, 'a'), 'content');
  const text = await fs.promises.readFile(path.join(folder, 'a'), 'utf8');
  await fs.promises.writeFile('big', Buffer.alloc(300000, 'x'));
  await pipeline(fs.createReadStream('big'), zlib.createGzip(), zlib.createGunzip(), fs.createWriteStream('copy'));
  const changed = new Promise((resolve) => { const w = fs.watch(folder, () => { w.close(); resolve(true); }); });
  await fs.promises.writeFile(path.join(folder, 'b'), 'x');
  console.log(text, (await fs.promises.stat('copy')).size, await changed);
})();
