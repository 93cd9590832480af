// Drives the server with the official TypeScript SDK (2025-11-25): node drive.mjs SDK_DIR URL TOKEN -> one JSON line.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [sdk, url, token] = process.argv.slice(2);
const from = createRequire(`${sdk}/package.json`);
const load = (path) => import(pathToFileURL(from.resolve(`@modelcontextprotocol/sdk/${path}`)));
const { Client } = await load('client/index.js');
const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');

const client = new Client({ name: 'drive', version: '1' });
const headers = { Authorization: `Bearer ${token}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const { tools } = await client.listTools();
const ran = await client.callTool({ name: 'execute_code', arguments: { code: 'console.log(6*7)', language: 'javascript' } });
const wrong = await client.callTool({ name: 'execute_code', arguments: { code: 'x', language: 'cobol' } });
await client.ping();
const { prompts } = await client.listPrompts();
const prompt = await client.getPrompt({ name: 'code_review', arguments: { code: 'x = 1', seniority: 'junior' } });
const completed = await client.complete({
  ref: { type: 'ref/prompt', name: 'code_review' }, argument: { name: 'seniority', value: 's' },
});
const { resources } = await client.listResources();
const { resourceTemplates } = await client.listResourceTemplates();
const readme = await client.readResource({ uri: 'resource://ultimate-mcp/readme' });
const missing = await client.readResource({ uri: 'resource://ultimate-mcp/nothing' }).catch((error) => error.code);
console.log(JSON.stringify({
  server: client.getServerVersion(), tools: tools.map((t) => t.name), ran: ran.structuredContent,
  prompts: prompts.map((p) => p.name), prompt: prompt.messages[0].content.text, completed: completed.completion.values,
  resources: resources.map((r) => r.uri), templates: resourceTemplates.length, readme: readme.contents[0].text, missing,
  wrong: { is_error: wrong.isError, text: wrong.content[0].text },
}));
await client.close();
