// What every TypeScript client does with the server, whatever its version and transport.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

export const load = (dir, path) => import(pathToFileURL(createRequire(`${dir}/package.json`).resolve(path)));

/** Says yes to the form of `graph_delete`, and keeps what was asked. */
export const elicits = (asked) => async ({ params }) => {
  asked.push(params.message);
  return { action: 'accept', content: { delete: true } };
};

const SLEEPS = 'import time\ntime.sleep(45)';

/** `options` puts the options of a call where the client's version wants them. */
export async function common(client, { key, watch, updated, options = (given) => [given] }) {
  const tools = [];
  for (let cursor; ; ) {
    const page = await client.listTools(cursor ? { cursor } : undefined);
    tools.push(...page.tools);
    if (!(cursor = page.nextCursor)) break;
  }
  const call = (name, args) => client.callTool({ name, arguments: args });
  const ran = await call('execute_code', { code: 'print(6*7)' });
  const wrong = await call('execute_code', { code: 'x', language: 'cobol' });
  const { prompts } = await client.listPrompts();
  const prompt = await client.getPrompt({ name: 'code_review', arguments: { code: 'x = 1', seniority: 'junior' } });
  const { resources } = await client.listResources();
  const { resourceTemplates } = await client.listResourceTemplates();
  const readme = await client.readResource({ uri: 'resource://ultimate-mcp/readme' });

  await call('graph_upsert', { nodes: [{ key, labels: ['Asked'], properties: {} }] });
  const deleted = await call('graph_delete', { nodes: [key], confirm: true });

  const job = await call('execute_code', { code: 'import time\ntime.sleep(2)', async: true });
  const uri = `resource://ultimate-mcp/runs/${job.structuredContent.job_id}`;
  await watch(uri);
  for (let n = 0; n < 100 && !updated.includes(uri); n++) await new Promise((done) => setTimeout(done, 100));

  const hangUp = new AbortController();
  setTimeout(() => hangUp.abort(), 800);
  const began = Date.now();
  const sleeping = { name: 'execute_code', arguments: { code: SLEEPS, timeout_seconds: 50 } };
  const cancelled = await client
    .callTool(sleeping, ...options({ signal: hangUp.signal }))
    .then(() => 'answered', () => Date.now() - began);
  // Until the server has heard of it.
  await new Promise((done) => setTimeout(done, 500));

  return {
    tools: tools.map((t) => t.name), ran: ran.structuredContent,
    wrong: { is_error: wrong.isError, text: wrong.content[0].text },
    prompts: prompts.map((p) => p.name), prompt: prompt.messages[0].content.text,
    resources: resources.map((r) => r.uri), templates: resourceTemplates.length, readme: readme.contents[0].text,
    deleted: deleted.structuredContent, told: updated.includes(uri), cancelled,
  };
}
