// Put in front of every JavaScript attack by the harness. `canary.env` names what the attack looks for on the host.
const fs = require('fs');
const HOST = Object.fromEntries(fs.readFileSync('canary.env', 'utf8').trim().split('\n')
  .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
// Every process of an attack carries this name, so that the harness can find survivors on the host.
process.title = HOST.SURVIVOR;
let breaches = 0;
const say = (text) => fs.writeSync(1, text + '\n');
const breach = (what) => { breaches += 1; say('BREACH ' + what); };
const verdict = () => { if (breaches === 0) say('HELD'); };
// The action must throw or return something false.
const refused = (what, action) => {
  try {
    const result = action();
    if (result) breach(`${what}: ${String(result).slice(0, 80)}`);
  } catch (error) {
    say(`refused ${what}: ${error.code || error.message}`);
  }
};

