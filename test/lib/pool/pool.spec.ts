import { describe, expect, it } from 'vitest';
import { findHierarchies } from './cgroup.ts';
import { describeHosts } from './engines.ts';
import { mountsBelow } from './mounts.ts';
import { poolRules } from './network.ts';
import { startTime, withDescendants } from './processes.ts';
import { ownerAlive, thisProcess } from './state.ts';

const state = { v: 1 as const, id: 'abc123', created: '', subnet: '', hosts: [] };

describe('a pool', () => {
  it('has its hosts in three groups in turn, each in a rack of its own', () => {
    const group = 'com.alipay.acs.topic.group';
    expect(describeHosts(4).map((host) => [host.name, host.labels[group]])).toEqual([
      ['n1', 'group1'],
      ['n2', 'group2'],
      ['n3', 'group3'],
      ['n4', 'group1'],
    ]);
    expect(describeHosts([{ name: 'db', rack: 'r9', labels: { storage: 'hdd' } }])).toMatchObject([
      { name: 'db', labels: { 'com.alipay.acs.topic.rack': 'r9', storage: 'hdd' } },
    ]);
  });

  it('marks each of its firewall rules as its own', () => {
    for (const { rule } of poolRules('abc123', '10.70.1')) expect(rule.join(' ')).toContain('-m comment --comment xp-abc123');
  });

  it('has an owner that is one process, not whoever got its pid later', () => {
    const owner = thisProcess();
    expect(ownerAlive({ ...state, owner })).toBe(true);
    expect(ownerAlive({ ...state, owner: { ...owner, start: '1' } })).toBe(false);
    expect(ownerAlive({ ...state, owner: { ...owner, boot: 'another' } })).toBe(false);
  });
});

describe('processes', () => {
  it('are found with their descendants', () => {
    expect(withDescendants([process.ppid])).toContain(process.pid);
    expect(startTime(process.pid)).toMatch(/^\d+$/);
    expect(startTime(2 ** 30)).toBeUndefined();
  });
});

describe('mountsBelow', () => {
  it('gives the deepest first and nothing beside the folder', () => {
    const row = (path: string) => `26 1 0:1 / ${path} rw - tmpfs tmpfs rw`;
    const text = ['/a', '/a/b', '/a/b/c\\040d', '/ab'].map(row).join('\n');
    expect(mountsBelow('/a', text)).toEqual(['/a/b/c d', '/a/b', '/a']);
  });
});

describe('findHierarchies', () => {
  it('takes the freezer where there is one, else the unified hierarchy', () => {
    const v2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0';
    const v1 = 'cgroup /cg/freezer cgroup rw,relatime,freezer 0 0\ncgroup2 /cg/unified cgroup2 rw 0 0';
    expect(findHierarchies(v1)).toEqual({ main: '/cg/freezer', v2: false, all: ['/cg/freezer', '/cg/unified'] });
    expect(findHierarchies(v2)).toEqual({ main: '/sys/fs/cgroup', v2: true, all: ['/sys/fs/cgroup'] });
    expect(() => findHierarchies('')).toThrow();
  });
});
