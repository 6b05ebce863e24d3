import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { globMatches, parseConstraint, satisfies, showConstraint } from '#pool/constraints.ts';
import { testHost } from '#test/pool-hosts.ts';

const host = testHost(1, { name: 'node-a', group: 'group1', rack: 'rack7', labels: { storage: 'ssd', 'com.example.tier': 'front' } });
const holds = (text: string) => satisfies(host, parseConstraint(text));

describe('constraints', () => {
  it.each([
    ['storage=ssd', true],
    ['storage==ssd', true],
    ['storage==SSD', false],
    ['storage!=ssd', false],
    ['storage!=hdd', true],
    ['storage==s*', true],
    ['storage==s?d', true],
    ['storage==?', false],
    ['storage==/^s[sx]d$/', true],
    ['storage==/SS/', false],
    ['storage==/(?i)SS/', true],
    ['storage!=/^h/', true],
    ['missing==x', false],
    ['missing!=x', true],
    ['missing==*', false],
    ['node==node-a', true],
    ['node==node-*', true],
    ['node!=node-a', false],
    ['node==00000000-0000-4000-8000-000000000001', true],
    ['group==group1', true],
    ['rack!=rack7', false],
    ['com.example.tier==front', true],
    ['com.alipay.acs.topic.group==group1', true],
    ['constructor==x', false],
  ])('%s: %s', (text, expected) => {
    expect(holds(text)).toBe(expected);
  });

  it('sees labels of the engine, and those of the pool before them', () => {
    const facts = { ...host.facts!, engineLabels: { storage: 'hdd', zone: 'z1' } };
    expect(satisfies({ ...host, facts }, parseConstraint('zone==z1'))).toBe(true);
    expect(satisfies({ ...host, facts }, parseConstraint('storage==ssd'))).toBe(true);
  });

  it('reads soft constraints', () => {
    expect(parseConstraint('storage==~ssd')).toEqual({ key: 'storage', operator: '==', value: 'ssd', soft: true });
    expect(parseConstraint('storage!=~/x/')).toEqual({ key: 'storage', operator: '!=', value: '/x/', soft: true });
  });

  it('is read again as it is shown', () => {
    for (const text of ['a=b', 'a!=b', 'a==~b', 'a!=~/c.d/'])
      expect(parseConstraint(showConstraint(parseConstraint(text)))).toEqual(parseConstraint(text));
    expect(showConstraint(parseConstraint('a==b'))).toBe('a=b');
  });

  it.each(['', 'storage', '==x', 'storage==', 'sto rage==x', '-a==b', `a==${'x'.repeat(300)}`, 'a==/(/', 'a==/[/'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseConstraint(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
    },
  );

  it.each(['/(a+)+$/', '/(a|a)*$/', '/a*a*a*a*b/', '/(a)\\1/', '/(?=a)b/', '/(a{1,9}){9}/', '/a?a?a?a?a?a?aaaaaa/'])(
    'refuses the expression %s, which can take for ever',
    (expression) => {
      expect(() => parseConstraint(`a==${expression}`)).toThrow(expect.objectContaining({ code: 'invalid' }));
    },
  );

  it('takes the expressions that people write', () => {
    for (const text of ['a==/^node-[0-9]+$/', 'a==/(x|y)/', 'a==/foo.*bar/', 'a==/web\\d\\.example/', 'a==/[*+?]/']) parseConstraint(text);
  });
});

describe('globMatches', () => {
  it('agrees with the regular expression of the same meaning', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '.'), maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 10 });
    fc.assert(
      fc.property(word, text, (glob, value) => {
        const source = glob.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.');
        expect(globMatches(glob, value)).toBe(new RegExp(`^${source}$`).test(value));
      }),
      { numRuns: 1000 },
    );
  });

  it('takes no time for many stars', () => {
    expect(globMatches(`${'*a'.repeat(60)}*b`, 'a'.repeat(256))).toBe(false);
  });
});
