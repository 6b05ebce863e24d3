import { Duplex } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import type { AppError } from '#core/errors.ts';
import { silentLogger } from '#core/log.ts';
import { createSupervisor, netstring } from './supervisor.ts';

function channel(answer: (line: string) => string[] = () => []) {
  const said: string[] = [];
  const stream: Duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().split('\n').slice(0, -1)) {
        said.push(line);
        for (const reply of answer(line)) stream.push(`${reply}\n`);
      }
      done();
    },
  });
  let gone = 0;
  let events = 0;
  const supervisor = createSupervisor({
    channel: stream,
    log: silentLogger(),
    onEvent: () => {
      events += 1;
    },
    onGone: () => {
      gone += 1;
    },
  });
  const hear = async (text: string) => {
    stream.push(text);
    await new Promise((resolve) => setTimeout(resolve, 1));
  };
  return { supervisor, said, stream, hear, gone: () => gone, events: () => events };
}

describe('createSupervisor', () => {
  it('knows from the first line what runs, however it is cut', async () => {
    const { supervisor, hear } = channel();
    expect(supervisor.engine()).toBeUndefined();
    await hear('hello 1 eng');
    await hear('ine running 42\nengine exited 42 signal 9\n');
    expect(supervisor.engine()).toEqual({ state: 'none' });
    expect(supervisor.lastEnd()).toBe('signal 9');
    await hear('hello 1 engine killed 43\n');
    expect(supervisor.engine()).toEqual({ state: 'killed', pid: 43, startedHere: false });
  });

  it('starts by one line of netstrings and waits until it is said to be started', async () => {
    const { supervisor, said } = channel((line) => (line.startsWith('start') ? ['engine started 7'] : []));
    await supervisor.start({ file: '/usr/sbin/mariadbd', args: ['--server-id=1', '--x=a b,c'] });
    expect(said).toEqual(['start 18:/usr/sbin/mariadbd,13:--server-id=1,9:--x=a b,c,']);
    expect(supervisor.engine()).toEqual({ state: 'running', pid: 7, startedHere: true });
  });

  it('a start that is refused is a conflict', async () => {
    const { supervisor } = channel(() => ['refused start engine 7 runs']);
    await expect(supervisor.start({ file: '/x', args: [] })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('a start is waited for longer than a pet reaches ahead: after that it is refused, and nothing comes late (A2)', async () => {
    const petMs = 5000;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { supervisor } = channel();
      let end = 'waits';
      supervisor.start({ file: '/x', args: [] }).catch((error: AppError) => {
        end = error.code;
      });
      await vi.advanceTimersByTimeAsync(petMs + 500);
      expect(end).toBe('waits');
      await vi.advanceTimersByTimeAsync(petMs);
      expect(end).toBe('timeout');
    } finally {
      vi.useRealTimers();
    }
  });

  it('a kill is over when the process is gone, also when there was none', async () => {
    const one = channel((line) => (line === 'state' ? ['hello 1 engine killed 7', 'engine exited 7 signal 9'] : []));
    await one.hear('hello 1 engine running 7\n');
    await one.supervisor.kill(500);
    expect(one.said).toEqual(['kill', 'state']);
    expect(one.supervisor.engine()).toEqual({ state: 'none' });
    const none = channel((line) => (line === 'state' ? ['hello 1 engine none'] : []));
    await none.supervisor.kill(500);
  });

  it('a process that does not go is said so', async () => {
    const { supervisor, hear } = channel(() => ['hello 1 engine killed 7']);
    await hear('hello 1 engine running 7\n');
    await expect(supervisor.kill(20)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('a pet names a time of the monotonic clock', async () => {
    const { supervisor, said } = channel();
    const before = Number(process.hrtime.bigint() / 1_000_000n);
    supervisor.pet(3000);
    const until = Number(/^pet (\d+)$/.exec(said[0] ?? '')?.[1]);
    expect(until).toBeGreaterThanOrEqual(before + 3000);
    expect(until).toBeLessThan(before + 60_000);
  });

  it('the end that is asked for is told once, and a supervisor that is gone as well', async () => {
    const { supervisor, hear, events, stream, gone } = channel();
    await hear('term 20000\n');
    const first = supervisor.term();
    expect(first?.ms).toBe(20000);
    expect(events()).toBe(1);
    await hear('term 10\n');
    expect(supervisor.term()).toBe(first);
    stream.destroy();
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(gone()).toBe(1);
  });
});

describe('netstring', () => {
  it('counts bytes, and refuses what no argument has', () => {
    expect(netstring('grün')).toBe('5:grün,');
    expect(netstring('')).toBe('0:,');
    expect(() => netstring('a\nkill')).toThrow('control character');
  });
});
