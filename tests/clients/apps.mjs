// Shows results on the server's pages as a host of MCP Apps does: node apps.mjs DIR URL TOKEN -> one JSON line.
// The host's side is the AppBridge of the official package; the page runs in a frame of jsdom.
import { load } from './steps.mjs';

const [dir, url, token] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } = await load(dir, '@modelcontextprotocol/client');
const { AppBridge, PostMessageTransport } = await load(dir, '@modelcontextprotocol/ext-apps/app-bridge');
const { JSDOM } = await load(dir, 'jsdom');

// The bridge tells every message it sees.
console.debug = () => {};

const client = new Client({ name: 'apps', version: '1' }, { versionNegotiation: { mode: 'auto' } });
const requestInit = { headers: { Authorization: `Bearer ${token}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
const { tools } = await client.listTools();
const pageOf = (tool) => tools.find(({ name }) => name === tool)?._meta?.ui?.resourceUri;

// jsdom does not say whose a message is, which both sides look at; here each hears from one other only.
const named = (from) => `addEventListener('message', (event) => {
  if (event.source) return;
  event.stopImmediatePropagation();
  dispatchEvent(new MessageEvent('message', { data: event.data, source: ${from} }));
});`;

/** What the page of this tool shows of a result. */
async function shown(tool, result) {
  const uri = pageOf(tool);
  const { contents: [content] } = await client.readResource({ uri });
  const host = new JSDOM('<iframe></iframe>', { runScripts: 'dangerously', resources: 'usable' });
  globalThis.window = host.window;
  host.window.eval(named('document.querySelector("iframe").contentWindow'));
  const frame = host.window.document.querySelector('iframe');
  const bridge = new AppBridge(null, { name: 'host', version: '1' }, {}, { hostContext: { theme: 'dark' } });
  const ready = new Promise((done) => (bridge.oninitialized = done));
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.contentWindow.document.open();
  frame.contentWindow.document.write(`<script>${named('parent')}</script>${content.text}`);
  frame.contentWindow.document.close();
  await ready;
  await bridge.sendToolInput({ arguments: {} });
  await bridge.sendToolResult(result);
  await new Promise((done) => setTimeout(done, 200));
  const page = frame.contentWindow.document;
  const seen = {
    uri, mime: content.mimeType, meta: content._meta, text: page.getElementById('shown').textContent,
    marks: page.querySelectorAll('circle').length, rows: page.querySelectorAll('tbody tr').length,
    scripts: page.querySelectorAll('main script, main img').length, scheme: page.documentElement.style.colorScheme,
  };
  host.window.close();
  return seen;
}

const call = (name, args) => client.callTool({ name, arguments: args });
const hostile = '<img src=x onerror=alert(1)><script>1</script>';
const run = await shown('execute_code', await call('execute_code', { code: `print(${JSON.stringify(hostile)})` }));
const wrong = await shown('execute_code', await call('execute_code', { code: 'x', language: 'cobol' }));
const code = 'def test_one():\n    assert True\ndef test_two():\n    assert 1 == 2\n';
const tests = await shown('run_tests', await call('run_tests', { code }));
const node = (key) => ({ key, labels: ['App'], properties: {} });
await call('graph_upsert', {
  nodes: [node('app:a'), node('app:b')],
  relationships: [{ start: 'app:a', end: 'app:b', type: 'KNOWS', properties: {} }],
});
const cypher = "MATCH (a:App)-[r]->(b) RETURN a, r, b";
const graph = await shown('graph_query', await call('graph_query', { cypher }));
console.log(JSON.stringify({ run, wrong, tests, graph, plain: pageOf('lint_code') ?? null }));
await client.close();
process.exit(0);
