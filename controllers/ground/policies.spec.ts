import fc from 'fast-check';
import { expect, it } from 'vitest';
import { accessorOf } from '#ground/acl.ts';
import { agentRules, memberRules } from '#ground/policies.ts';

it('a member is given its keys and what lies below them, not keys that begin alike', () => {
  const rules = memberRules({ write: ['xcaas/lb/a/members/a-1'], read: ['xcaas/lb/a/'], node: 'h1' });
  expect(rules).toMatchObject({
    key: { 'xcaas/lb/a/members/a-1': { policy: 'write' } },
    key_prefix: { 'xcaas/lb/a/members/a-1/': { policy: 'write' }, 'xcaas/lb/a/': { policy: 'read' } },
    session: { h1: { policy: 'write' } },
  });
  expect(rules).not.toHaveProperty('session_prefix');
});

it('a key that is both read and written is written', () => {
  expect(memberRules({ write: ['xcaas/a'], read: ['xcaas/a'] })).toMatchObject({ key: { 'xcaas/a': { policy: 'write' } } });
});

it('a member is given nothing outside the records', () => {
  for (const path of ['', '/', 'xcaas', 'xcaas/', 'other/a', 'xcaas//a', 'xcaas/../a', '/xcaas/a']) {
    expect(() => memberRules({ write: [path], read: [] })).toThrow('not below xcaas/');
  }
});

it('a host cannot write what was decided about it', () => {
  const { key, key_prefix } = agentRules({ id: 'i', name: 'n' });
  expect(key).toEqual({ 'xcaas/hosts/i/spec': { policy: 'read' } });
  expect(key_prefix).toMatchObject({ 'xcaas/hosts/i/': { policy: 'write' }, 'xcaas/': { policy: 'read' } });
});

it('accessors are UUIDs and differ as names do', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      expect(accessorOf(a)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(accessorOf(a) === accessorOf(b)).toBe(a === b);
    }),
  );
});
