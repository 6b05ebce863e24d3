// Healthy is what the sidecar says of itself and its engines.
import { get } from 'node:http';

const request = get({ socketPath: '/run/member/admin.sock', path: '/health', timeout: 3000 }, (response) => {
  response.resume();
  process.exitCode = response.statusCode === 200 ? 0 : 1;
});
request.on('timeout', () => request.destroy());
request.on('error', () => {
  process.exitCode = 1;
});
