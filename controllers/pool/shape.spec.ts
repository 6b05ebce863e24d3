import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Host } from '#pool/host.ts';
import { managersWanted } from '#pool/managers.ts';
import { shapeOf } from '#pool/shape.ts';
import { testHost } from '#test/pool-hosts.ts';

/** `A*` = a manager in group A, `w` after it = drained (a witness), `x` = dead. */
function pool(...hosts: string[]): Host[] {
  return hosts.map((text, n) =>
    testHost(n + 1, { group: text[0]!, manager: text.includes('*'), drained: text.includes('w'), alive: !text.includes('x') }),
  );
}

function appoint(hosts: Host[]): Host[] {
  const { managers } = managersWanted(hosts);
  return hosts.map((host) => {
    const manager = managers.includes(host.spec.id);
    return { ...host, spec: { ...host.spec, manager }, facts: { ...host.facts!, swarmManager: manager } };
  });
}

describe('shapeOf', () => {
  it('counts a manager from when its engine is one', () => {
    const hosts = pool('A*', 'B*', 'C*');
    expect(shapeOf(hosts).survivesGroup).toBe(true);
    const [first, second, third] = hosts as [Host, Host, Host];
    const becoming = { ...third, facts: { ...third.facts!, swarmManager: false } };
    expect(shapeOf([first, second, becoming])).toMatchObject({ managers: 2, survivesHost: false, survivesGroup: false });
  });

  it.each([
    [['A*'], false, false, 'one host: its loss stops everything; nothing acknowledged is lost once it is back'],
    [
      ['A*', 'B'],
      false,
      false,
      '2 hosts in 2 groups: the loss of host-1 (the only manager) stops writes on the half that is left; nothing acknowledged is lost',
    ],
    [
      ['A*', 'A*', 'A*'],
      true,
      false,
      '3 hosts in 1 group: all services can go on after the loss of any one host; the loss of the group stops everything',
    ],
    [
      ['A*', 'A*', 'B*'],
      true,
      false,
      '3 hosts in 2 groups: all services can go on after the loss of any one host; the loss of group A stops writes: it holds most managers; nothing acknowledged is lost',
    ],
    [['A*', 'B*', 'C*w'], true, true, '3 hosts in 3 groups: all services can go on after the loss of any one host or of any one group'],
    [['A*', 'B*', 'C*'], true, true, '3 hosts in 3 groups: all services can go on after the loss of any one host or of any one group'],
    [['A*', 'B*w', 'C*w'], false, false, '3 hosts in 3 groups: members have no other host to go to when one is lost'],
  ])('%j', (hosts, host, group, sentence) => {
    expect(shapeOf(pool(...(hosts as string[])))).toMatchObject({ survivesHost: host, survivesGroup: group, sentence });
  });

  it('says what would help wherever something would be lost', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('A', 'A*', 'B', 'B*', 'C', 'C*', 'Aw', 'C*w'), { minLength: 1, maxLength: 7 }), (hosts) => {
        const shape = shapeOf(pool(...hosts));
        expect(shape.next.length > 0).toBe(!shape.survivesGroup);
        if (shape.survivesGroup) expect(shape.groups).toBeGreaterThan(1);
      }),
    );
  });
});

describe('managersWanted', () => {
  const names = (ids: string[]) => ids.map((id) => Number(id.slice(-12)));

  it.each([
    [['A*'], [], []],
    [['A*', 'B'], [], []],
    [['A*', 'A', 'B'], [2, 3], []],
    [['A*', 'B', 'C'], [2, 3], []],
    [['A*', 'A', 'B', 'C'], [3, 4], []],
    [['A*', 'B*', 'C*', 'A', 'B'], [4, 5], []],
    [['A*', 'A', 'B', 'B', 'Cw'], [3, 5, 2, 4], []],
    // A witness makes three managers survive a group where five would not.
    [['A*', 'A', 'A', 'B', 'C'], [4, 5], []],
    // All three grew up in one group: two must go for the pool to survive that group's loss.
    [
      ['A*', 'A*', 'A*', 'B', 'C'],
      [4, 5],
      [2, 3],
    ],
    // Nothing is gained by a demotion: a group holds most hosts whatever is done.
    [['A*', 'A*', 'B*'], [], []],
    // A dead manager stays one, and a dead host becomes none.
    [['A*x', 'B*', 'C*', 'A'], [], []],
    [['A*', 'Bx', 'Cx'], [], []],
    [['A*', 'B', 'Cx'], [], []],
    // The pool shrank.
    [['A*', 'B*'], [], []],
    [['A*', 'B*', 'A*', 'B*'], [], []],
  ])('%j: promote %j, demote %j', (hosts, promote, demote) => {
    const wanted = managersWanted(pool(...(hosts as string[])));
    expect(names(wanted.promote).sort()).toEqual([...(promote as number[])].sort());
    expect(names(wanted.demote)).toEqual(demote);
  });

  const hostsArb = fc
    .array(fc.constantFrom('A', 'A*', 'B', 'B*', 'C', 'C*', 'Dw', 'Bx', 'C*x'), { minLength: 1, maxLength: 9 })
    .map((all) => pool(...all));

  it('is content with what it asked for', () => {
    fc.assert(fc.property(hostsArb, (hosts) => void expect(managersWanted(appoint(hosts))).toMatchObject({ promote: [], demote: [] })));
  });

  it('demotes only to survive the loss of a group, and never promotes the dead', () => {
    fc.assert(
      fc.property(hostsArb, (hosts) => {
        const { promote, demote } = managersWanted(hosts);
        for (const id of promote) expect(hosts.find(({ spec }) => spec.id === id)?.alive).toBe(true);
        const majority = (all: Host[]) => {
          const managers = all.filter(({ spec }) => spec.manager);
          return (
            Math.max(0, ...['A', 'B', 'C', 'D'].map((group) => managers.filter(({ spec }) => spec.group === group).length)) * 2 >=
            managers.length
          );
        };
        if (demote.length > 0) {
          expect(majority(hosts)).toBe(true);
          expect(majority(appoint(hosts))).toBe(false);
        }
      }),
    );
  });

  it('grows one host at a time into a set that survives what the pool can', () => {
    let hosts = pool('A*');
    for (const group of ['B', 'C', 'A', 'B', 'C', 'A']) {
      hosts = appoint([...hosts, testHost(hosts.length + 1, { group })]);
      const count = hosts.filter(({ spec }) => spec.manager).length;
      expect(count).toBe(hosts.length >= 5 ? 5 : hosts.length >= 3 ? 3 : 1);
      expect(shapeOf(hosts).survivesGroup).toBe(hosts.length >= 3);
    }
  });
});
