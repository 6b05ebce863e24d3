import { expect, test } from 'vitest';
import { isLeftBehind } from './left-behind.ts';

type Seen = Parameters<typeof isLeftBehind>[0];

const seen = (policy: string, error: string, { status = 'exited', labels = {} } = {}): Seen =>
  ({
    Config: { Labels: labels },
    HostConfig: { RestartPolicy: { Name: policy } },
    State: { Status: status, Error: error },
  }) as unknown as Seen;

const NO_MANAGER =
  'attaching to network failed, make sure your network options are correct and check manager logs: context deadline exceeded';

test.each([
  [NO_MANAGER],
  ['could not find a network matching network mode xcaas: network xcaas not found'],
  ['Could not attach to network xcaas: rpc error: code = NotFound desc = network xcaas not found'],
])('a container that lacked its network is started: %s', (error) => {
  expect(isLeftBehind(seen('unless-stopped', error))).toBe(true);
  expect(isLeftBehind(seen('always', error))).toBe(true);
});

test('nothing else is: stopped by its user, another error, no policy, a member, one that runs', () => {
  expect(isLeftBehind(seen('unless-stopped', ''))).toBe(false);
  expect(isLeftBehind(seen('always', 'driver failed programming external connectivity: port is already allocated'))).toBe(false);
  expect(isLeftBehind(seen('no', NO_MANAGER))).toBe(false);
  expect(isLeftBehind(seen('on-failure', NO_MANAGER))).toBe(false);
  expect(isLeftBehind(seen('always', NO_MANAGER, { labels: { 'xcaas.member': 'web-1' } }))).toBe(false);
  expect(isLeftBehind(seen('always', NO_MANAGER, { status: 'running' }))).toBe(false);
});
