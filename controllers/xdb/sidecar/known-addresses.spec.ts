import { expect, it } from 'vitest';
import { createKnownAddresses } from './known-addresses.ts';
import type { RecordsView } from './records.ts';

const statuses = (addresses: Record<string, string>) =>
  ({
    statuses: Object.fromEntries(Object.entries(addresses).map(([id, address]) => [id, { address, node: 'n' }])),
  }) as unknown as RecordsView;

it('knows members that are gone by where they were, but nobody by an address that is its own by now', () => {
  let mine = '10.0.0.2';
  const addresses = createKnownAddresses(undefined, { member: 'adb-2', address: () => mine });
  addresses.learn(statuses({ 'adb-1': '10.0.0.1', 'adb-2': '10.0.0.2' }));
  addresses.learn(statuses({ 'adb-2': '10.0.0.2' }));
  expect(addresses.of('adb-1')?.address).toBe('10.0.0.1');
  mine = '10.0.0.1';
  expect(addresses.of('adb-1')).toBeUndefined();
  expect(addresses.of('adb-2')?.address).toBe('10.0.0.2');
  addresses.learn(statuses({ 'adb-1': '10.0.0.3' }));
  expect(addresses.of('adb-1')?.address).toBe('10.0.0.3');
});
