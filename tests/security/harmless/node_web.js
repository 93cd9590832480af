// A web server and fetch over its own loopback.
// expect-status: ok
// expect-stdout: 200 {"fine":true}
require('http').createServer((request, response) => response.end('{"fine":true}')).listen(0, '127.0.0.1', async function listening() {
  const answer = await fetch(`http://127.0.0.1:${this.address().port}/`);
  console.log(answer.status, await answer.text());
  process.exit(0);
});
