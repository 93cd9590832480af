// Writes one JSON line per test while node:test runs, so that a run that is cut keeps what was finished.
import { mkdirSync, openSync, writeSync } from 'node:fs';

const MESSAGE_CHARS_MAX = 4000;

// What was thrown may be anything, even an object that throws when it is looked at.
function textOf(thrown) {
  try {
    return String(thrown?.stack ?? thrown?.message ?? thrown);
  } catch {
    return 'an error that cannot be shown';
  }
}

export default async function* report(events) {
  mkdirSync('out', { recursive: true });
  const file = openSync('out/ultimate_mcp_report.jsonl', 'a', 0o600);
  const names = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      names.length = data.nesting;
      names[data.nesting] = data.name;
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    if (data.details?.type === 'suite') continue;
    const idle = data.skip !== undefined || data.todo !== undefined;
    const outcome = idle ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed';
    const error = data.details?.error;
    const cause = error?.cause ?? error;
    const reason = [data.skip, data.todo].find((text) => typeof text === 'string');
    const message = error ? textOf(cause) : reason;
    const name = [...names.slice(0, data.nesting), data.name].join(' > ');
    const duration_seconds = (data.details?.duration_ms ?? 0) / 1000;
    const record = { name, outcome, duration_seconds, message: message?.slice(0, MESSAGE_CHARS_MAX) };
    writeSync(file, JSON.stringify(record) + '\n');
  }
  yield '';
}
