import { describe, expect, it } from 'vitest';
import { answer, messages, type SentinelClient, type SentinelDeps, type SentinelView } from './commands.ts';
import { createRequestReader, encode } from './resp.ts';

const VIEW: SentinelView = {
  ...{ name: 'acache', epoch: 3, quorum: 1, master: { id: 'a-1', address: '10.0.0.1', port: 6378, run: 'r1' } },
  replicas: [{ id: 'a-2', address: '10.0.0.2', port: 6378, run: 'r2', linkUp: true, offset: 5 }],
  sentinels: [
    { id: 'a-1', address: '10.0.0.1', port: 26379, run: 's1' },
    { id: 'a-2', address: '10.0.0.2', port: 26379, run: 's2' },
  ],
};
const deps = (view = VIEW): SentinelDeps => ({
  ...{ view: () => view, myId: 's1', version: '7.2.4', clientId: () => 9 },
  authenticate: (user, password) => password === 'secret' && (user === 'acache' || user === 'default'),
});
const client = (): SentinelClient => ({ protocol: 2, name: '', channels: new Set(), patterns: new Set() });
const say = (words: string, of = client(), view = VIEW) =>
  answer(deps(view), of, words.split(' '))
    .map((reply) => encode(reply, of.protocol))
    .join('');

describe('a Sentinel', () => {
  it('says where the master is, and nothing while there is none', () => {
    expect(say('SENTINEL get-master-addr-by-name acache')).toBe('*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6378\r\n');
    expect(say('SENTINEL get-master-addr-by-name other')).toBe('$-1\r\n');
    expect(say('sentinel get-master-addr-by-name acache', client(), { ...VIEW, master: undefined })).toBe('$-1\r\n');
    expect(say('SENTINEL ckquorum acache', client(), { ...VIEW, master: undefined })).toMatch(/^-NOQUORUM /);
  });

  it('lists replicas and the other Sentinels, not itself', () => {
    expect(say('SENTINEL replicas acache')).toContain('10.0.0.2:6378');
    const lagging = { ...VIEW, replicas: VIEW.replicas.map((one) => ({ ...one, linkUp: false })) };
    expect(say('SENTINEL slaves acache', client(), lagging)).toContain('slave,disconnected');
    expect(say('SENTINEL sentinels acache')).toContain('$2\r\ns2\r\n');
    expect(say('SENTINEL sentinels acache')).not.toContain('$2\r\ns1\r\n');
    expect(say('SENTINEL master other')).toBe('-ERR No such master with that name\r\n');
  });

  it('is not to be reconfigured by clients', () => {
    for (const word of ['failover acache', 'set acache quorum 9', 'monitor x 10.0.0.9 1 1', 'remove acache', 'reset *'])
      expect(say(`SENTINEL ${word}`)).toMatch(/^-ERR this cache is managed/);
    expect(say('CONFIG SET x y')).toBe("-ERR unknown command 'CONFIG'\r\n");
  });

  it('speaks the newer protocol when it is asked to', () => {
    const one = client();
    expect(say('HELLO 3 AUTH acache secret SETNAME me', one)).toMatch(/^%7\r\n/);
    expect([one.protocol, one.name]).toEqual([3, 'me']);
    expect(say('SENTINEL get-master-addr-by-name other', one)).toBe('_\r\n');
    expect(say('SENTINEL master acache', one)).toMatch(/^%\d+\r\n/);
    expect(say('HELLO 4')).toMatch(/^-NOPROTO/);
    expect(say('HELLO 3 AUTH acache wrong')).toMatch(/^-WRONGPASS/);
    expect(say('AUTH secret')).toBe('+OK\r\n');
    expect(say('AUTH acache wrong')).toMatch(/^-WRONGPASS/);
  });

  it('tells whom it concerns, by channel and by pattern', () => {
    const one = client();
    expect(say('SUBSCRIBE +switch-master', one)).toBe('*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n');
    say('PSUBSCRIBE +sw*', one);
    expect(messages(one, '+switch-master', 'x')).toBe(
      '*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$1\r\nx\r\n*4\r\n$8\r\npmessage\r\n$4\r\n+sw*\r\n$14\r\n+switch-master\r\n$1\r\nx\r\n',
    );
    expect(messages(one, '-switch-master', 'x')).toBe('');
    say('UNSUBSCRIBE', one);
    say('PUNSUBSCRIBE +sw*', one);
    expect(messages(one, '+switch-master', 'x')).toBe('');
  });
});

describe('requests', () => {
  it('are read whole, however they are cut', () => {
    const bytes = Buffer.from('*2\r\n$4\r\nPING\r\n$3\r\nhé\r\nPING again\r\n*1\r\n$4\r\nQUIT\r\n');
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const read = createRequestReader();
      expect([...read(bytes.subarray(0, cut)), ...read(bytes.subarray(cut))]).toEqual([['PING', 'hé'], ['PING', 'again'], ['QUIT']]);
    }
  });

  it('that are none, or have no end, are refused', () => {
    expect(() => createRequestReader()(Buffer.from('*1\r\n:4\r\n'))).toThrow('invalid bulk length');
    expect(() => createRequestReader()(Buffer.from('*1000000\r\n'))).toThrow('invalid multibulk length');
    expect(() => createRequestReader()(Buffer.alloc(70_000, 'x'))).toThrow('too big');
  });
});
