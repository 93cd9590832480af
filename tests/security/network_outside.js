// Leaves for other machines: documentation addresses, the cloud's metadata service, a name server.
// attacks: the network namespace
// expect-status: ok
// expect-stdout: HELD
// timeout: 15
const net = require('net');
const dgram = require('dgram');
const dns = require('dns');
const os = require('os');
refused('interfaces', () => Object.values(os.networkInterfaces()).flat().some((entry) => !entry.internal));
const routes = fs.existsSync('/proc/net/route') ? fs.readFileSync('/proc/net/route', 'utf8').trim().split('\n') : [];
if (routes.length > 1) breach(`route ${routes[1]}`);
const stream = (host, port) => new Promise((resolve) => {
  const socket = net.connect({ host, port, timeout: 2000 });
  socket.on('connect', () => { breach(`connected to ${host}`); socket.destroy(); resolve(); });
  // A timeout means that a packet went somewhere.
  socket.on('timeout', () => { breach(`${host} is routed`); socket.destroy(); resolve(); });
  socket.on('error', (error) => {
    // A refusal is an answer from somewhere, unless it comes from the own loopback.
    if (error.code === 'ECONNREFUSED' && !host.startsWith('127.')) breach(`${host} is routed`);
    say(`refused ${host}: ${error.code}`);
    resolve();
  });
});
const datagram = (host, port) => new Promise((resolve) => {
  const socket = dgram.createSocket('udp4');
  socket.on('error', () => { resolve(); });
  socket.send('x', port, host, (error) => {
    if (error) say(`refused ${host}: ${error.code}`); else breach(`datagram to ${host}`);
    socket.close(); resolve();
  });
});
(async () => {
  await stream('192.0.2.1', 80);
  await stream('169.254.169.254', 80);
  await stream('2001:db8::1', 80);
  await stream(HOST.HOST_ADDRESS, Number(HOST.CANARY_PORT));
  await datagram('192.0.2.1', 53);
  await datagram('169.254.169.254', 53);
  await dns.promises.resolve4('example.com').then((found) => breach(`resolved ${found}`), (e) => say(`refused ${e.code}`));
  verdict();
  process.exit(0);
})();
