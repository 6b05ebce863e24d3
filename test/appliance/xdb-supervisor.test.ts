import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { sleep, waitFor } from '#core/sleep.ts';
import { type Boot, docker, ENGINE, netstrings, type Supervised, startSupervised } from './xdb-supervisor-lab.ts';

/** The supervisor of a database's member, with the real engine; the sidecar is a stand-in that says what the test tells it. */

let member: Supervised;

afterEach(async () => {
  await member?.stop();
});

const start = async (boot: Boot = {}, options: readonly string[] = []) => {
  member = await startSupervised(boot, options);
};

const within = async (what: string, probe: () => Promise<boolean>, timeoutMs = 20_000) => {
  const found = await waitFor(async () => ((await probe()) ? true : undefined), { timeoutMs, intervalMs: 100 });
  if (!found) throw new Error(`not within ${timeoutMs} ms: ${what}\n${await member.logs()}`);
};

const supervisorPid = async () => (await member.pids('supervisor'))[0]!;
const sidecarPid = async () => (await member.heard()).at(-1)!.pid;

/** Nothing in the container has asked the engine to end in good order, which would acknowledge what is on no other member. */
const expectNoShutdown = async () => expect(await member.logs()).not.toMatch(/Normal shutdown|Shutdown complete/);

describe('starting the engine', () => {
  it('starts it by the word of a sidecar that is well, once, as the image’s user', async () => {
    await start();
    expect((await member.hears(/^hello .*/))[0]).toBe('hello 1 engine none');
    await member.say(`start ${netstrings(ENGINE)}\n`);
    await member.hears(/^refused start no pet$/);
    expect(await member.pids('mariadbd')).toEqual([]);

    await member.pet(3000);
    const pid = await member.startEngine();
    expect(await member.pids('mariadbd')).toEqual([pid]);
    for (const each of [pid, await sidecarPid(), (await member.pids('haproxy'))[0]!]) {
      expect(await member.status(each, 'Uid')).toBe('7481\t7481\t7481\t7481');
      expect(await member.status(each, 'Groups')).toBe('');
      expect(await member.status(each, 'CapEff')).toBe('0000000000000000');
      expect(await member.status(each, 'NoNewPrivs')).toBe('1');
    }
    // The supervisor itself keeps CAP_KILL, CAP_SETGID and CAP_SETUID of root's.
    expect(await member.status(await supervisorPid(), 'CapEff')).toBe('00000000000000e0');

    const before = (await member.heard()).length;
    await member.say(`start ${netstrings(ENGINE)}\nstate\n`);
    await member.hears(new RegExp(`^refused start engine ${pid} runs$`), before);
    await member.hears(new RegExp(`^hello 1 engine running ${pid}$`), before);
    expect(await member.pids('mariadbd')).toEqual([pid]);
  });

  it('takes nothing for a command line that is not exactly netstrings', async () => {
    await start({ petMs: 5000 });
    await member.hears(/^hello/);
    const bad = [
      '',
      '3:abc',
      '3:abc,x',
      '03:abc,',
      '2:abc,',
      '4:abc,',
      ':abc,',
      '-1:,',
      '99999999:a,',
      '1:a,,',
      ' 1:a,',
      '4:a\tbc,',
      '13:/bin/sleep 60',
    ];
    for (const text of bad) {
      const before = (await member.heard()).length;
      await member.say(`start ${text}\n`);
      await member.hears(/^refused start not netstrings$/, before);
    }
    const before = (await member.heard()).length;
    await member.say('start 5:sleep,2:60,\npet soon\npet -1\npet 99999999999999\nstart\nkill now\n');
    await member.hears(/^refused start not a whole path$/, before);
    await member.hears(/^refused pet not a number of milliseconds$/, before);
    await member.hears(/^refused pet more than 60 s ahead$/, before);
    await within('two lines that are not understood', async () => {
      const lines = (await member.heard()).slice(before);
      return lines.filter(({ line }) => line === 'refused line not understood').length === 2;
    });
    expect(await member.pids('sleep')).toEqual([]);

    const after = (await member.heard()).length;
    await member.say(`start ${netstrings(['/bin/sh', '-c', 'exec sleep "$1"', 'é, 1:b', '7483'])}\n`);
    const [, pid] = await member.hears(/^engine started (\d+)$/, after);
    await within('the program', async () => (await member.pids('sleep')).includes(Number(pid)));
    await member.say('kill\n');
    await member.hears(new RegExp(`^engine exited ${pid} signal 9$`), after);
    await member.say('start 6:/no/no,\n');
    await member.hears(/^engine exited \d+ code 127$/, after);
  });

  it('reports an engine that dies, does not start it again, and starts it when it is told', async () => {
    await start({ petMs: 3000 });
    const pid = await member.startEngine();
    await member.kill('KILL', pid);
    await member.hears(new RegExp(`^engine exited ${pid} signal 9$`));
    await sleep(3000);
    expect(await member.pids('mariadbd')).toEqual([]);
    expect(await member.startEngine()).not.toBe(pid);
  });

  it('kills it when it is told, and by nothing but SIGKILL', async () => {
    await start({ petMs: 3000 });
    const pid = await member.startEngine();
    await member.say('kill\nkill\n');
    await member.hears(new RegExp(`^engine exited ${pid} signal 9$`));
    await expectNoShutdown();

    // What this would look like otherwise: the check above can fail.
    const second = await member.startEngine();
    await member.kill('TERM', second);
    await member.hears(new RegExp(`^engine exited ${second} code 0$`));
    expect(await member.logs()).toMatch(/Normal shutdown/);
  });
});

describe('a sidecar in trouble', () => {
  it('leaves the engine and the endpoint alone when the sidecar is killed, and tells the next one how things stand', async () => {
    await start({ petMs: 10_000 });
    const pid = await member.startEngine();
    const haproxy = await member.pids('haproxy');
    expect(haproxy.length).toBeGreaterThan(0);
    for (let round = 0; round < 3; round++) {
      const before = (await member.heard()).length;
      const sidecar = await sidecarPid();
      await member.kill('KILL', sidecar);
      await member.hears(new RegExp(`^hello 1 engine running ${pid}$`), before);
      expect(await sidecarPid()).not.toBe(sidecar);
    }
    expect(await member.engineAnswers()).toBe(true);
    expect(await member.pids('mariadbd')).toEqual([pid]);
    expect(await member.pids('haproxy')).toEqual(haproxy);
  });

  it('kills the engine of a frozen sidecar when its time has passed, not before, and starts a fresh sidecar', async () => {
    await start({ petMs: 8000 });
    const pid = await member.startEngine();
    const sidecar = await sidecarPid();
    const before = (await member.heard()).length;
    await member.kill('STOP', sidecar);
    await sleep(3000);
    expect(await member.alive(pid)).toBe(true);
    await within('the engine is dead', async () => !(await member.alive(pid)), 20_000);
    await member.hears(/^hello 1 engine (none|killed)/, before);
    expect(await sidecarPid()).not.toBe(sidecar);
    expect(await member.alive(sidecar)).toBe(false);
    await sleep(1000);
    expect(await member.pids('mariadbd')).toEqual([]);
    await expectNoShutdown();
  });

  it('kills the engine when the sidecar does not come back', async () => {
    await start({ petMs: 4000 });
    const pid = await member.startEngine();
    await member.boot({ exit: 3 });
    await member.kill('KILL', await sidecarPid());
    expect(await member.alive(pid)).toBe(true);
    await within('the engine is dead', async () => !(await member.alive(pid)), 30_000);
    await expectNoShutdown();

    const before = (await member.heard()).length;
    await member.boot({ petMs: 4000 });
    await member.hears(/^hello 1 engine none$/, before);
  });

  it('kills the engine of a sidecar that lives and has stopped saying that it is well', async () => {
    await start();
    await member.pet(4000);
    const pid = await member.startEngine();
    await member.pet(0);
    await within('the engine is dead', async () => !(await member.alive(pid)), 30_000);
  });

  it('asks nobody to be well while no engine runs', async () => {
    await start();
    await member.hears(/^hello/);
    await member.pet(500);
    await member.pet(0);
    const sidecar = await sidecarPid();
    await sleep(3000);
    expect(await member.alive(sidecar)).toBe(true);
    expect(await member.heard()).toHaveLength(1);
  });

  it('ends what a sidecar left behind before the next one starts', async () => {
    await start({ petMs: 5000 });
    await member.hears(/^hello/);
    await member.command({ orphan: true });
    await within('the orphans', async () => (await member.pids('sleep')).length === 2);
    const before = (await member.heard()).length;
    await member.kill('KILL', await sidecarPid());
    await member.hears(/^hello/, before);
    expect(await member.pids('sleep')).toEqual([]);
  });

  it('starts a sidecar anew that closes its line, and leaves the engine alone', async () => {
    await start({ petMs: 10_000 });
    const pid = await member.startEngine();
    const before = (await member.heard()).length;
    await member.command({ close: true });
    await member.hears(new RegExp(`^hello 1 engine running ${pid}$`), before);
    expect(await member.alive(pid)).toBe(true);
  });

  it('starts a sidecar anew that sends a line without an end', async () => {
    await start({ petMs: 5000 });
    await member.hears(/^hello/);
    const before = (await member.heard()).length;
    await member.say('x'.repeat(70_000)).catch(() => undefined);
    await member.hears(/^hello/, before);
  });
});

describe('the end of the container', () => {
  it('tells the sidecar first, and ends as soon as that has ended', async () => {
    await start({ petMs: 5000, endAfterMs: 1000 });
    const pid = await member.startEngine();
    const began = performance.now();
    await docker('stop', '-t', '60', member.container);
    expect(performance.now() - began).toBeLessThan(15_000);
    const lines = (await member.heard()).map(({ line }) => line);
    // The engine was still there when the sidecar had done its work.
    expect(lines.slice(lines.indexOf('term 20000'))).toEqual(['term 20000', 'ends']);
    expect(lines).not.toContain('SIGTERM');
    expect(await member.state()).toMatchObject({ Running: false, ExitCode: 0 });
    expect(await member.logs()).toContain(`engine ${pid} is killed: the member ends`);
    await expectNoShutdown();
  });

  it('kills the engine of a sidecar that takes too long, and refuses to start one meanwhile', async () => {
    await start({ petMs: 5000 }, ['-e', 'MEMBER_STOP_SECONDS=6']);
    const pid = await member.startEngine();
    const stopped = docker('stop', '-t', '60', member.container);
    await member.hears(/^term 6000$/);
    await sleep(1500);
    expect(await member.alive(pid)).toBe(true);
    await member.say('kill\n');
    await member.hears(new RegExp(`^engine exited ${pid} signal 9$`));
    await member.say(`start ${netstrings(ENGINE)}\n`);
    await member.hears(/^refused start the member ends$/);
    await stopped;
    expect(await member.state()).toMatchObject({ Running: false, ExitCode: 0 });
    await expectNoShutdown();
  });

  it('takes everything along when the supervisor is killed', async () => {
    await start({ petMs: 60_000 });
    await member.startEngine();
    const onHost = (await docker('top', member.container, '-eo', 'pid,comm'))
      .split('\n')
      .filter((line) => line.includes('mariadbd'))
      .map((line) => Number.parseInt(line, 10));
    expect(onHost).toHaveLength(1);
    await member.kill('KILL', await supervisorPid());
    await within('the container has ended', async () => !(await member.state()).Running);
    await within('the engine is gone from the host', async () => !existsSync(`/proc/${onHost[0]}`));
    await expectNoShutdown();
  });

  it('takes the engine along also while tini is frozen and cannot notice', async () => {
    await start({ petMs: 60_000 });
    const pid = await member.startEngine();
    // PID 1 is not reached from inside.
    const tini = Number(await docker('inspect', '-f', '{{.State.Pid}}', member.container));
    process.kill(tini, 'SIGSTOP');
    try {
      await member.kill('KILL', await supervisorPid());
      await within('the engine is dead', async () => !(await member.alive(pid)));
    } finally {
      process.kill(tini, 'SIGCONT');
    }
    await within('the container has ended', async () => !(await member.state()).Running);
  });
});

describe('the rest of a member', () => {
  it('lets the sidecar kill the engine where the supervisor is frozen, and fences late when it wakes', async () => {
    await start({ petMs: 4000 });
    const pid = await member.startEngine();
    const supervisor = await supervisorPid();
    const before = (await member.heard()).length;
    await member.kill('STOP', supervisor);
    await member.say('state\nkill\n');
    await sleep(1500);
    expect(await member.alive(pid)).toBe(true);
    expect((await member.heard()).length).toBe(before);
    const { code } = await member.exec('setpriv', '--reuid=7481', '--regid=7481', '--clear-groups', 'sh', '-c', `kill -KILL ${pid}`);
    expect(code).toBe(0);
    await within('the engine is dead', async () => !(await member.alive(pid)));
    await member.kill('CONT', supervisor);
    await member.hears(new RegExp(`^engine exited ${pid} signal 9$`), before);
  });

  it('finds a pet that was written before everything froze as old as it is', async () => {
    await start({ petMs: 12_000 });
    const pid = await member.startEngine();
    const supervisor = await supervisorPid();
    await member.kill('STOP', supervisor);
    // Written while the supervisor cannot read.
    await sleep(500);
    await member.kill('STOP', await sidecarPid());
    await sleep(13_000);
    expect(await member.alive(pid)).toBe(true);
    await member.kill('CONT', supervisor);
    // Counted from when it is read it would be good for 12 s more.
    await within('the engine is dead', async () => !(await member.alive(pid)), 6000);
  });

  it('keeps HAProxy running by itself, with what it last took when it refuses what there is', async () => {
    await start({ petMs: 5000 });
    await member.hears(/^hello/);
    const running = async () =>
      (await member.exec('sh', '-c', 'haproxy -c -q -f /var/lib/xdb/haproxy/haproxy.cfg && test -S /run/xdb/haproxy.sock')).code === 0;
    await within('HAProxy runs', running);
    const sidecar = await sidecarPid();
    const [first] = await member.pids('haproxy');
    const good =
      'global\n  description good\n  stats socket /run/xdb/haproxy.sock mode 600 level admin\ndefaults\n  mode tcp\n  timeout client 9s\n  timeout server 9s\n  timeout connect 1s\n';
    const write = (text: string) => member.exec('sh', '-c', 'printf "%s" "$1" >/var/lib/xdb/haproxy/haproxy.cfg', 'sh', text);
    const configuration = async () => (await member.exec('cat', '/var/lib/xdb/haproxy/haproxy.cfg')).stdout;
    await write(good);
    await member.kill('KILL', first!);
    await within(
      'HAProxy runs anew',
      async () => !(await member.pids('haproxy')).includes(first!) && (await member.pids('haproxy')).length > 0 && (await running()),
    );
    await write('nonsense\n');
    for (const pid of await member.pids('haproxy')) await member.kill('KILL', pid).catch(() => undefined);
    await within('the last good configuration', async () => (await configuration()) === good && (await member.pids('haproxy')).length > 0);
    expect(await member.exec('cat', '/var/lib/xdb/haproxy/haproxy.cfg.refused')).toMatchObject({ stdout: 'nonsense\n' });
    expect(await member.alive(sidecar)).toBe(true);
  });

  it('is healthy exactly when the sidecar says so', async () => {
    await start();
    await member.hears(/^hello/);
    const health = async () => (await member.exec('/usr/share/xdb/health')).code;
    await within('the sidecar is asked', async () => (await member.exec('test', '-S', '/run/member/admin.sock')).code === 0);
    expect(await health()).toBe(1);
    await member.writeFake('well', '');
    expect(await health()).toBe(0);
    await member.kill('STOP', await sidecarPid());
    expect(await health()).toBe(1);
  });

  it('needs little', async () => {
    await start({ petMs: 3000 });
    const pid = await member.startEngine();
    await member.say('kill\n');
    await member.hears(new RegExp(`^engine exited ${pid}`));
    await member.startEngine();
    const supervisor = await supervisorPid();
    const kilobytes = Number.parseInt(await member.status(supervisor, 'VmHWM'), 10);
    expect(kilobytes).toBeGreaterThan(0);
    expect(kilobytes).toBeLessThan(5 * 1024);
    expect(await member.status(supervisor, 'Threads')).toBe('1');
  });
});
