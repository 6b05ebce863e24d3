import { describe, expect, it } from 'vitest';
import { adb, host } from '#test/xdb-world.ts';
import { findOurs } from './ours.ts';

const hosts = [host(1), host(2)];
const published = adb({ publish: [{ hostPort: 13306, port: 3306 }] });
const address = hosts[1]?.spec.address ?? '';

describe('findOurs', () => {
  it('knows a database of ours by its name, a member, or a published port', () => {
    expect(findOurs({ host: 'adb', port: 3306 }, [adb()], hosts)?.name).toBe('adb');
    expect(findOurs({ host: 'adb-2', port: 3307 }, [adb()], hosts)?.name).toBe('adb');
    expect(findOurs({ host: address, port: 13306 }, [published], hosts)?.name).toBe('adb');
  });

  it('takes nothing else for one', () => {
    expect(findOurs({ host: 'adb', port: 3310 }, [adb()], hosts)).toBeUndefined();
    expect(findOurs({ host: 'other', port: 3306 }, [adb()], hosts)).toBeUndefined();
    expect(findOurs({ host: address, port: 3306 }, [published], hosts)).toBeUndefined();
    expect(findOurs({ host: '192.0.2.9', port: 13306 }, [published], hosts)).toBeUndefined();
    const gone = { ...adb(), destroyed: { time: '', keepData: false, purge: false } };
    expect(findOurs({ host: 'adb', port: 3306 }, [gone], hosts)).toBeUndefined();
  });
});
