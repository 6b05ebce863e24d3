import { expect, test } from 'vitest';
import { AppError } from '#core/errors.ts';
import { engineError } from './engine-errors.ts';

/** Sentences as engine 28.5 says them. */
test.each([
  ['driver failed programming external connectivity: Bind for 0.0.0.0:8080 failed: port is already allocated', 'port_taken'],
  ['failed to bind host port for 0.0.0.0:80:172.18.0.2:80/tcp: address already in use', 'port_taken'],
  ['Could not attach to network xcaas: rpc error: code = DeadlineExceeded desc = context deadline exceeded', 'unavailable'],
  ['Could not attach to network none-such: rpc error: code = NotFound desc = network none-such not found', 'not_found'],
  ['network none-such not found', 'not_found'],
  ['Could not attach to network xcaas: rpc error: code = PermissionDenied desc = network xcaas not manually attachable', 'invalid'],
  ['No such image: sha256:00', 'not_found'],
  ['write /var/lib/docker/tmp/x: no space left on device', 'disk_full'],
  ['something else', 'engine'],
])('%s -> %s', (said, code) => {
  const error = engineError(new Error(said), 'starting the member web-1');
  expect(error).toMatchObject({ code, message: `starting the member web-1 failed: ${said}` });
});

test('an engine that is away is told from one that refuses, and errors of ours pass', () => {
  expect(engineError(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }), 'x').code).toBe('unavailable');
  const own = new AppError('conflict', 'mine');
  expect(engineError(own, 'x')).toBe(own);
});
