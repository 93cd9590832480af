// Recurses without end in JavaScript, in a regular expression and in JSON.
// attacks: the stack of the interpreter
// expect-status: ok
// expect-stdout: HELD
const deep = () => deep();
try { deep(); breach('no end'); } catch (error) { say(`refused ${error.constructor.name}`); }
try { JSON.parse('['.repeat(1e6)); } catch (error) { say(`refused ${error.constructor.name}`); }
try { new RegExp('('.repeat(1e5) + ')'.repeat(1e5)).test('x'); } catch (error) { say(`refused ${error.constructor.name}`); }
verdict();
