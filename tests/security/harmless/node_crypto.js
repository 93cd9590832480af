// Hashes, keys, random numbers, compression on the thread pool.
// expect-status: ok
// expect-stdout: 64 true 32
const crypto = require('crypto');
const { promisify } = require('util');
(async () => {
  const hash = crypto.createHash('sha256').update('x').digest('hex');
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519');
  const signed = crypto.verify(null, Buffer.from('x'), publicKey, crypto.sign(null, Buffer.from('x'), privateKey));
  const key = await promisify(crypto.scrypt)('p', 'salt', 32);
  console.log(hash.length, signed, key.length);
})();
