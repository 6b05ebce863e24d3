import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { join } from 'node:path';
import { AppError, hasCode, messageOf } from '#core/errors.ts';
import { readIfThere, writeFileAtomic } from '#core/files.ts';
import type { HostPaths } from '#core/paths.ts';
import { validate } from '#core/validate.ts';
import { createKey, fingerprint, isIssuedFor, publicKeyOf } from '#ground/ca.ts';
import { writeConsulConfig } from '#ground/consul-config.ts';
import { type ControlAddress, parseAddress, postToControl } from '#ground/control-client.ts';
import { ensureFolder, HostRecord, readHostRecord, writeHostRecord } from '#ground/host-record.ts';
import { decodeJoinToken, JoinAnswer, type JoinRequest, type SwarmJoin } from '#ground/join.ts';

export interface JoinOptions {
  paths: HostPaths;
  token: string;
  host: Omit<HostRecord, 'id' | 'manager'>;
  /** Told what is being done, a sentence at a time. */
  progress?: (sentence: string) => void;
  /** Where control listens when the token's addresses do not say; 7402. */
  port?: number;
  /** True when this host's Consul is 1.14 or later, see {@link writeConsulConfig}. */
  modernConsul?: boolean;
}

/**
 * The joining side: makes this host's key, proves the pool by the CA's fingerprint in the token, and writes what control hands out. May be
 * repeated after an interruption at any point while the token is good: id and key are written before anything is asked.
 *
 * @throws AppError `conflict` when this host is of another pool or a manager already, `forbidden` when no address proves to be of the token's
 *   pool, `unavailable` when none answers, and what control says (`token_used`, `token_expired`, …)
 */
export async function joinPool(options: JoinOptions): Promise<{ host: HostRecord; swarm: SwarmJoin }> {
  const { paths, host, progress = () => undefined, modernConsul = false } = options;
  const token = decodeJoinToken(options.token);
  const before = await readHostRecord(paths.hostFile);
  await assertMayJoin(paths, before, token.ca);
  const record = validate(HostRecord, { ...host, id: before?.id ?? randomUUID(), manager: false }, 'the host');

  await ensureFolder(paths.pki, 0o700);
  const keyFile = join(paths.pki, 'host.key');
  const key = (await readIfThere(keyFile)) ?? (await createKey());
  await writeFileAtomic(keyFile, key, 0o600);
  await writeHostRecord(paths.hostFile, record);

  const { address, ca } = await findPool(
    token.addresses.map((text) => parseAddress(text, options.port)),
    token.ca,
    progress,
  );
  await writeFileAtomic(join(paths.pki, 'ca.pem'), ca, 0o644);
  const { manager: _, ...self } = record;
  const body: JoinRequest = { v: 1, secret: token.secret, host: self, publicKey: publicKeyOf(key) };
  progress(`asking ${address.host} to take this host in`);
  const answer = validate(JoinAnswer, await postToControl(address, '/join', body, { ca }), `the answer of ${address.host}`);
  if (!isIssuedFor(answer.certificate, ca, key)) {
    throw new AppError('internal', `${address.host} gave a certificate that is not for this host's key`);
  }
  await accept(paths, answer, modernConsul);
  progress(`this host is ${answer.host.name} of the pool now`);
  return { host: answer.host, swarm: answer.swarm };
}

async function accept(paths: HostPaths, answer: JoinAnswer, modern: boolean): Promise<void> {
  const { host, gossipKey, servers, tokens } = answer;
  await ensureFolder(paths.tokens, 0o700);
  await writeFileAtomic(join(paths.tokens, 'agent'), `${tokens.agent}\n`, 0o600);
  await writeConsulConfig(paths, { host, gossipKey, servers, bootstrap: false, agentToken: tokens.consul, modern });
  await writeHostRecord(paths.hostFile, host);
  // Last: a host with a certificate is a host that has joined.
  await writeFileAtomic(join(paths.pki, 'host.pem'), answer.certificate, 0o644);
}

async function assertMayJoin(paths: HostPaths, before: HostRecord | undefined, wantedCa: string): Promise<void> {
  if (before?.manager) {
    throw new AppError('conflict', `this host is a manager of a pool already, as ${before.name}`, {
      hint: 'take it out of that pool first, with all its data: ./xcaas down --purge',
    });
  }
  const ca = await readIfThere(join(paths.pki, 'ca.pem'));
  const joined = (await readIfThere(join(paths.pki, 'host.pem'))) !== undefined;
  if (ca !== undefined && joined && fingerprint(ca) !== wantedCa) {
    throw new AppError('conflict', `this host belongs to another pool, as ${before?.name ?? 'an unknown host'}`, {
      hint: 'take it out of that pool first, with all its data: ./xcaas down --purge',
    });
  }
}

async function findPool(
  addresses: ControlAddress[],
  wantedCa: string,
  progress: (sentence: string) => void,
): Promise<{ address: ControlAddress; ca: string }> {
  const failures: AppError[] = [];
  for (const address of addresses) {
    progress(`asking ${address.host} for the pool's CA`);
    try {
      const ca = await fetchCa(address);
      if (fingerprint(ca) === wantedCa) return { address, ca };
      failures.push(new AppError('forbidden', `${address.host} is not of the pool that this token is for`));
    } catch (error) {
      failures.push(error instanceof AppError ? error : new AppError('unavailable', messageOf(error), { cause: error }));
    }
  }
  const worst = failures.find((failure) => hasCode(failure, 'forbidden')) ?? failures[0];
  throw new AppError(worst?.code ?? 'unavailable', failures.map(({ message }) => message).join('; '), {
    hint: 'control listens on port 7402 of the managers: it must be reachable from here',
  });
}

/** The one request that trusts nobody: what it brings is held against the fingerprint before it is used. */
function fetchCa({ host, port }: ControlAddress): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new AppError('unavailable', `${host}:${port} cannot be asked for the pool's CA: ${why}`));
    const request = https.get({ host, port, path: '/join/ca', rejectUnauthorized: false, timeout: 10_000, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > 65_536) request.destroy(new Error('its answer is too long for a certificate'));
      });
      answer.on('end', () => (answer.statusCode === 200 ? resolve(text) : fail(`it answered ${answer.statusCode}`)));
      answer.on('error', (error) => fail(error.message));
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.on('error', (error) => fail(messageOf(error)));
  });
}
