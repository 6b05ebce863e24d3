// A small web server for test targets: no packages, so that any Node image (or a mounted Node) runs it. What it can do:
//   GET  /               {container, time, path, pid, requests}
//   GET  /slow?ms=N      the same after N ms
//   GET  /big?bytes=N    N bytes
//   GET  /drip?n=N&ms=M  N lines, one every M ms
//   GET  /status?code=N  that status
//   GET  /headers        the request's method, URL, headers and the client's address, as JSON
//   GET  /stats          {requests, posts, sockets, active}
//   GET  /health         200, or 503 after POST /health?ok=0
//   GET  /hang           never answers;  GET /close: closes the connection without an answer
//   POST, PUT any path   the body back as it comes; `x-post-count` counts them
//   POST, PUT /whole     the body back once it is whole: nginx sends no more of a request whose answer has begun
//   WS   /ws             each text back; `close:CODE` closes
// Every answer carries x-web-name. Environment: WEB_NAME, PORT (8080), START_DELAY_MS, and for SIGTERM: ON_TERM=graceful (finish what is
// under way, at most GRACE_MS, 5000) | abrupt (end at once) | ignore.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';

const { WEB_NAME = hostname(), PORT = '8080', START_DELAY_MS = '0', ON_TERM = 'graceful', GRACE_MS = '5000' } = process.env;
const counts = { requests: 0, posts: 0, sockets: 0, active: 0 };
const sockets = new Set();
let healthy = true;

const json = (response, value, status = 200) => {
  const text = `${JSON.stringify(value)}\n`;
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
};
const hello = (request) => ({
  container: WEB_NAME,
  time: new Date().toISOString(),
  path: request.url,
  pid: process.pid,
  requests: counts.requests,
});

const server = createServer((request, response) => {
  counts.requests++;
  counts.active++;
  response.on('close', () => counts.active--);
  response.setHeader('x-web-name', WEB_NAME);
  const url = new URL(request.url, 'http://web');
  const number = (name, or, most) => Math.min(most, Math.max(0, Number(url.searchParams.get(name) ?? or) || 0));
  if (url.pathname === '/health') {
    if (request.method === 'POST') healthy = url.searchParams.get('ok') !== '0';
    request.resume();
    return json(response, { healthy }, healthy || request.method === 'POST' ? 200 : 503);
  }
  if (request.method === 'POST' || request.method === 'PUT') {
    response.writeHead(200, {
      'x-post-count': String(++counts.posts),
      'content-type': request.headers['content-type'] ?? 'application/octet-stream',
      ...(request.headers['content-length'] ? { 'content-length': request.headers['content-length'] } : {}),
    });
    if (url.pathname !== '/whole') return void request.pipe(response);
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    return void request.on('end', () => response.end(Buffer.concat(chunks)));
  }
  switch (url.pathname) {
    case '/slow':
      return void setTimeout(() => json(response, hello(request)), number('ms', 1000, 600_000));
    case '/big': {
      const bytes = number('bytes', 1_048_576, 1_073_741_824);
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes });
      const block = Buffer.alloc(65_536, 'x');
      let left = bytes;
      const more = () => {
        while (left > 0) {
          const part = left < block.length ? block.subarray(0, left) : block;
          left -= part.length;
          if (!response.write(part) && left > 0) return void response.once('drain', more);
        }
        response.end();
      };
      return more();
    }
    case '/drip': {
      let left = number('n', 10, 100_000);
      response.writeHead(200, { 'content-type': 'text/plain' });
      const timer = setInterval(
        () => {
          if (left-- > 0) response.write(`${WEB_NAME} ${left}\n`);
          else {
            clearInterval(timer);
            response.end();
          }
        },
        Math.max(1, number('ms', 100, 60_000)),
      );
      return void response.on('close', () => clearInterval(timer));
    }
    case '/status':
      return json(response, hello(request), Math.max(200, number('code', 200, 599)));
    case '/headers':
      return json(response, {
        container: WEB_NAME,
        method: request.method,
        url: request.url,
        headers: request.headers,
        client: request.socket.remoteAddress,
      });
    case '/stats':
      return json(response, { container: WEB_NAME, ...counts });
    case '/hang':
      return;
    case '/close':
      return void request.socket.destroy();
    default:
      return json(response, hello(request));
  }
});

// WebSocket, RFC 6455: only what an echo needs.
server.on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'];
  if (!key || !request.url.startsWith('/ws')) return void socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\nx-web-name: ${WEB_NAME}\r\n\r\n`,
  );
  socket.setNoDelay(true);
  counts.sockets++;
  sockets.add(socket);
  socket.on('close', () => {
    counts.sockets--;
    sockets.delete(socket);
  });
  socket.on('error', () => socket.destroy());
  let buffer = head;
  const receive = (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (let parsed = frame(buffer); parsed !== undefined; parsed = frame(buffer)) {
      buffer = buffer.subarray(parsed.size);
      answer(socket, parsed);
    }
  };
  socket.on('data', receive);
  if (head.length > 0) receive(Buffer.alloc(0));
});

/** The first frame in the buffer, or undefined while it is not whole. */
function frame(buffer) {
  if (buffer.length < 2) return undefined;
  let length = buffer[1] & 0x7f;
  let at = 2;
  if (length === 126) {
    if (buffer.length < 4) return undefined;
    length = buffer.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (buffer.length < 10) return undefined;
    length = Number(buffer.readBigUInt64BE(2));
    at = 10;
  }
  const masked = (buffer[1] & 0x80) !== 0;
  const start = masked ? at + 4 : at;
  if (buffer.length < start + length) return undefined;
  const payload = Buffer.from(buffer.subarray(start, start + length));
  if (masked) for (let i = 0; i < length; i++) payload[i] ^= buffer[at + (i % 4)];
  return { first: buffer[0], opcode: buffer[0] & 0x0f, payload, size: start + length };
}

function send(socket, first, payload) {
  const { length } = payload;
  let header;
  if (length < 126) header = Buffer.from([first, length]);
  else if (length < 65_536) header = Buffer.from([first, 126, length >> 8, length & 0xff]);
  else {
    header = Buffer.alloc(10);
    header[0] = first;
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  socket.write(Buffer.concat([header, payload]));
}

function close(socket, code) {
  send(socket, 0x88, Buffer.from([code >> 8, code & 0xff]));
  socket.end();
}

function answer(socket, { first, opcode, payload }) {
  if (opcode === 8) {
    send(socket, 0x88, payload.subarray(0, 2));
    socket.end();
  } else if (opcode === 9) {
    send(socket, 0x8a, payload);
  } else if (opcode <= 2) {
    const order = /^close:(\d{4})$/.exec(payload.toString('utf8', 0, 16));
    if (order) close(socket, Number(order[1]));
    else send(socket, first, payload);
  }
}

process.on('SIGTERM', () => {
  if (ON_TERM === 'ignore') return;
  if (ON_TERM === 'abrupt') process.exit(143);
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  for (const socket of sockets) close(socket, 1001);
  setTimeout(() => process.exit(0), Number(GRACE_MS)).unref();
});
process.on('SIGINT', () => process.exit(130));

setTimeout(() => server.listen(Number(PORT), () => console.log(`${WEB_NAME} listens on ${PORT}`)), Number(START_DELAY_MS));
