// Goes below the public interface of Node: bindings, native modules, identities, reports, the loader.
// attacks: what JavaScript reaches without asking the module system
// expect-status: ok
// expect-stdout: HELD
const read = (path) => fs.readFileSync(path, 'utf8').slice(0, 40);
refused('shadow', () => read('/etc/shadow'));
refused('canary', () => read(HOST.CANARY_FILE));
refused('environment of PID 1', () => read('/proc/1/environ'));
refused('binding fs', () => {
  const binding = process.binding('fs');
  return binding.internalModuleReadJSON && binding.internalModuleReadJSON('/etc/shadow')[0];
});
refused('binding spawn', () => {
  const result = process.binding('spawn_sync').spawn({
    file: '/bin/cat', args: ['cat', '/etc/shadow'], envPairs: [], cwd: '/',
    stdio: [{ type: 'pipe', readable: true, writable: false }, { type: 'pipe', readable: false, writable: true }],
  });
  return result.output && result.output[1] && result.output[1].length;
});
refused('native module', () => { fs.writeFileSync('x.node', 'x'); process.dlopen({ exports: {} }, `${process.cwd()}/x.node`); return 1; });
refused('setuid', () => { process.setuid(0); return 1; });
refused('setgroups', () => { process.setgroups([0]); return 1; });
refused('report outside', () => { process.report.directory = '/etc'; process.report.writeReport('ump.json'); return fs.existsSync('/etc/ump.json'); });
refused('chroot by priority', () => { require('os').setPriority(0, -20); return 1; });
refused('title of the launcher', () => fs.readdirSync('/proc').some((p) => /^\d+$/.test(p) && !['1', String(process.pid), String(process.ppid)].includes(p)));
refused('environment', () => Object.keys(process.env).find((k) => /SECRET|TOKEN|CANARY|CARGO|ULTIMATE|SSH/.test(k)));
verdict();
