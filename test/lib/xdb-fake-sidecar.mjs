// Stands in for a member's sidecar where its supervisor is tested: says what the test tells it, writes down what it hears. Folder /fake is the test's.
import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer, Socket } from 'node:net';

const boot = existsSync('/fake/boot.json') ? JSON.parse(readFileSync('/fake/boot.json', 'utf8')) : {};
if (boot.exit !== undefined) process.exit(boot.exit);

const hear = (text) => appendFileSync('/fake/heard', `${process.pid} ${text}\n`);
const monotonic = () => Math.floor(Number(process.hrtime.bigint()) / 1e6);

const supervisor = new Socket({ fd: 3 });
let rest = '';
supervisor.setEncoding('utf8').on('data', (text) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop();
  for (const line of lines) {
    hear(line);
    if (line.startsWith('term ') && boot.endAfterMs !== undefined) {
      setTimeout(() => {
        hear('ends');
        process.exit(0);
      }, boot.endAfterMs);
    }
  }
});
supervisor.on('error', (error) => hear(`error ${error.code}`));
process.on('SIGTERM', () => hear('SIGTERM'));

let pets;
const petFor = (ms) => {
  clearInterval(pets);
  if (!ms) return;
  const pet = () => supervisor.write(`pet ${monotonic() + ms}\n`);
  pet();
  pets = setInterval(pet, 100);
};
petFor(boot.petMs);

const commands = {
  say: (text) => supervisor.write(text),
  petMs: petFor,
  /** Another process in a session of its own, as a backup would be. */
  orphan: () => spawn('sh', ['-c', 'sleep 7481 & sleep 7482'], { detached: true, stdio: 'ignore' }).unref(),
  close: () => supervisor.destroy(),
};
rmSync('/fake/control.sock', { force: true });
createServer({ allowHalfOpen: true }, (client) => {
  let text = '';
  client.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  client.on('end', () => {
    for (const [name, value] of Object.entries(JSON.parse(text))) commands[name](value);
    client.end('done');
  });
}).listen('/fake/control.sock', () => chmodSync('/fake/control.sock', 0o777));

rmSync('/run/member/admin.sock', { force: true });
createHttp((request, response) => {
  response.statusCode = request.url === '/health' && existsSync('/fake/well') ? 200 : 503;
  response.end('{}');
}).listen('/run/member/admin.sock');
