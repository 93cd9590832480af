// Drives the server with the TypeScript client 2.x: node drive2.mjs DIR URL TOKEN MODE -> one JSON line.
// MODE is `auto` (2026-07-28) or `legacy` (2025-11-25).
import { common, elicits, load } from './steps.mjs';

const [dir, url, token, mode] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } = await load(dir, '@modelcontextprotocol/client');

const client = new Client(
  { name: 'drive2', version: '1' },
  { capabilities: { elicitation: {} }, versionNegotiation: { mode } },
);
const asked = [];
client.setRequestHandler('elicitation/create', elicits(asked));
const updated = [];
client.setNotificationHandler('notifications/resources/updated', ({ params }) => void updated.push(params.uri));
const requestInit = { headers: { Authorization: `Bearer ${token}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));

const watch = async (uri) => {
  if (mode === 'legacy') await client.subscribeResource({ uri });
  else await client.listen({ resourceSubscriptions: [uri], toolsListChanged: true });
};
const seen = await common(client, { key: `drive2-${mode}`, watch, updated });
console.log(JSON.stringify({ version: client.getNegotiatedProtocolVersion(), asked, ...seen }));
await client.close();
process.exit(0);
