// Drives the server over WebSocket with the official TypeScript SDK 1.x: node drive_ws.mjs DIR URL TOKEN -> one JSON line.
// The SDK's transport gives its socket no headers; the token is added where Node makes the socket.
import { common, elicits, load } from './steps.mjs';

const [dir, url, token] = process.argv.slice(2);
const { Client } = await load(dir, '@modelcontextprotocol/sdk/client/index.js');
const { WebSocketClientTransport } = await load(dir, '@modelcontextprotocol/sdk/client/websocket.js');
const { ElicitRequestSchema, ResourceUpdatedNotificationSchema } = await load(dir, '@modelcontextprotocol/sdk/types.js');

const Plain = globalThis.WebSocket;
globalThis.WebSocket = class extends Plain {
  constructor(address, protocols) {
    super(address, { protocols, headers: { Authorization: `Bearer ${token}` } });
  }
};

const client = new Client({ name: 'drive-ws', version: '1' }, { capabilities: { elicitation: {} } });
const asked = [];
client.setRequestHandler(ElicitRequestSchema, elicits(asked));
const updated = [];
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void updated.push(params.uri));
await client.connect(new WebSocketClientTransport(new URL(url)));

const watch = (uri) => client.subscribeResource({ uri });
const seen = await common(client, {
  key: 'drive-ws', watch, updated, options: (given) => [undefined, given],
});
await client.ping();
console.log(JSON.stringify({ server: client.getServerVersion(), asked, ...seen }));
await client.close();
process.exit(0);
