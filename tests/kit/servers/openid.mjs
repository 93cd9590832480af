// A real OpenID provider for tests, on the loopback: node openid.mjs DIR PORT KEYS -> one line when it serves.
// DIR holds node_modules/oidc-provider. KEYS is a file with its signing key, made when it is not there: another
// file is another key. Clients ada and bob (secret: "secret") get JWT access tokens by their own credentials, for
// any resource (RFC 8707) and the scopes they ask for.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [dir, port, keys] = process.argv.slice(2);
const from = createRequire(`${dir}/package.json`);
const { default: Provider } = await import(pathToFileURL(from.resolve('oidc-provider')));

if (!existsSync(keys)) {
  const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  writeFileSync(keys, JSON.stringify({ keys: [{ ...jwk, kid: randomUUID(), use: 'sig', alg: 'RS256' }] }));
}
const scopes = ['tools:read', 'tools:execute'];
const client = (client_id) => ({
  client_id, client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  token_endpoint_auth_method: 'client_secret_post', scope: scopes.join(' '),
});
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: ['ada', 'bob'].map(client),
  jwks: JSON.parse(readFileSync(keys)),
  scopes,
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: scopes.join(' '), audience: resource, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('serves'));
