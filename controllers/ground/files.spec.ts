import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCode } from '#core/errors.ts';
import { type HostPaths, hostPaths } from '#core/paths.ts';
import { createKey, isIssuedFor } from '#ground/ca.ts';
import { ensureCertificates, tlsMaterial } from '#ground/cert-rotation.ts';
import { readConsulConfig } from '#ground/consul-config.ts';
import { readHostRecord, writeHostRecord } from '#ground/host-record.ts';
import { initHost } from '#ground/init.ts';

const self = { name: 'one', address: '10.0.0.1', group: 'g', rack: 'r', labels: {} };
const DAY = 86_400_000;
let root: string;
let paths: HostPaths;
const pki = (file: string) => readFile(join(paths.pki, file), 'utf8');

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'xc-'));
  paths = hostPaths(root);
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('founding a pool', () => {
  it('makes identity and keys once, whichever file an interruption left out', async () => {
    const { host } = await initHost(paths, self);
    const gossipKey = (await readConsulConfig(paths))?.gossipKey;
    const kept = ['pki/ca.pem', 'pki/ca.key', 'pki/host.key', 'pool.key'];
    const before = await Promise.all(kept.map((file) => readFile(join(paths.state, file), 'utf8')));
    for (const file of ['pki/host.pem', 'pki/control.pem', 'host.json']) {
      if (file !== 'host.json') await rm(join(paths.state, file));
      expect((await initHost(paths, self)).host).toEqual(host);
    }
    expect(await Promise.all(kept.map((file) => readFile(join(paths.state, file), 'utf8')))).toEqual(before);
    expect((await readConsulConfig(paths))?.gossipKey).toBe(gossipKey);
    expect((await readConsulConfig(paths))?.bootstrap).toBe(true);
  });

  it('begins anew where only the key of the CA was written', async () => {
    await initHost(paths, self);
    for (const file of ['ca.pem', 'host.pem', 'control.pem']) await rm(join(paths.pki, file));
    await initHost(paths, self);
    expect(isIssuedFor(await pki('host.pem'), await pki('ca.pem'), await pki('host.key'))).toBe(true);
  });

  it('is not for a host that is a plain member of a pool', async () => {
    const { host } = await initHost(paths, self);
    await writeHostRecord(paths.hostFile, { ...host, manager: false });
    await expect(initHost(paths, self)).rejects.toSatisfy((error) => hasCode(error, 'conflict'));
  });

  it('wants an address that others can reach', async () => {
    for (const address of ['0.0.0.0', '::', 'host.example', '']) {
      await expect(initHost(paths, { ...self, address })).rejects.toSatisfy((error) => hasCode(error, 'invalid'));
    }
    await expect(initHost(paths, { ...self, name: 'a b' })).rejects.toSatisfy((error) => hasCode(error, 'invalid'));
    expect(await readHostRecord(paths.hostFile)).toBeUndefined();
  });
});

describe('the record of a host', () => {
  it('may be read by all, and is refused when it is damaged', async () => {
    const { host } = await initHost(paths, self);
    expect(await readHostRecord(paths.hostFile)).toEqual(host);
    expect((await stat(paths.hostFile)).mode & 0o777).toBe(0o644);
    for (const text of ['{', '{}', JSON.stringify({ ...host, id: 'x' })]) {
      await writeFile(paths.hostFile, text);
      await expect(readHostRecord(paths.hostFile)).rejects.toSatisfy((error) => hasCode(error, 'invalid'));
    }
  });
});

describe('certificates of a manager', () => {
  it('are renewed in time and for the same key, and not before', async () => {
    const { host } = await initHost(paths, self);
    const keys = [await pki('host.key'), await pki('control.key')];
    const at = (days: number) => ({ now: new Date(Date.now() + days * DAY) });
    expect(await ensureCertificates(paths, host, at(58))).toEqual([]);
    expect(await ensureCertificates(paths, host, at(61))).toEqual(['host.pem', 'control.pem']);
    expect([await pki('host.key'), await pki('control.key')]).toEqual(keys);
  });

  it('are used by those who follow, and what does not fit is never used', async () => {
    const { host } = await initHost(paths, self);
    const material = await tlsMaterial(paths, 'control');
    const told: unknown[] = [];
    material.follow({ setSecureContext: (context) => told.push(context) });
    expect(await material.refresh()).toBe(false);
    await ensureCertificates(paths, host, { force: true });
    expect(await material.refresh()).toBe(true);
    const good = material.current();
    expect(told).toEqual([good]);
    await writeFile(join(paths.pki, 'control.key'), await createKey());
    await expect(material.refresh()).rejects.toSatisfy((error) => hasCode(error, 'invalid'));
    await rm(join(paths.pki, 'control.key'));
    await expect(material.refresh()).rejects.toSatisfy((error) => hasCode(error, 'not_found'));
    expect(material.current()).toBe(good);
    material.stop();
  });
});
