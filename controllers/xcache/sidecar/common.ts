import { mkdir } from 'node:fs/promises';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { AppError } from '#core/errors.ts';
import { readIfThere } from '#core/files.ts';
import type { Logger } from '#core/log.ts';
import type { AdminRoute } from '#member/admin.ts';
import { type CredentialsSource, createCredentials } from '#member/credentials.ts';
import { holdInstanceLock } from '#member/instance-lock.ts';
import { ownAddress } from '#member/own-address.ts';
import { createSayer } from '#member/sentence.ts';
import { keepSession, type MemberSession } from '#member/session.ts';
import type { Supervisor } from '#member/supervisor.ts';
import type { TcpDriver } from '#tcp/driver.ts';
import { connectEngine, type EngineSession } from '#xcache/engine/session.ts';
import type { Guards } from '#xcache/protocol/types.ts';
import { CacheCredentials, type CacheMemberStatus } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';
import type { SidecarConfig } from './config.ts';
import { engineAccess } from './engine-access.ts';
import { createEngineLink, type EngineLink } from './engine-link.ts';
import { type MemberMemory, openMemory } from './memory-file.ts';
import { keepSettings, type SettingsKeeper } from './settings.ts';
import { stillOf } from './status.ts';

export interface SidecarDeps {
  config: SidecarConfig;
  guards: Guards;
  connectSupervisor(onEvent: () => void): Supervisor;
  tcp: TcpDriver;
  log: Logger;
  /** The token has changed on disk: whoever started this starts it again. */
  onStale(): void;
  /** The member has ended as it should. */
  onLeave(): void;
}

/** The engine is killed when the sidecar has been silent for so long, in milliseconds. Each part of a turn is shorter. */
export const PET_MS = 3000;
export const PET_EVERY_MS = 500;
const SLOW_MS = 5000;
const ENGINE_TIMEOUT_MS = 800;
const KEPT_SENTENCES = 300;

/** What a member does, whatever the mode of its cache: each mode brings one (replicated.ts, cluster-member.ts). */
export interface ModeLoop {
  /** Looks, decides, does one thing. @returns one sentence */
  turn(): Promise<string>;
  /** Beside those that all modes have. */
  routes: AdminRoute[];
  stop(): Promise<void>;
}

/** What sidecars of all modes have. */
export interface Common {
  readonly deps: SidecarDeps;
  readonly consul: ConsulClient;
  readonly credentials: CredentialsSource<CacheCredentials>;
  readonly memory: MemberMemory;
  readonly supervisor: Supervisor;
  readonly link: EngineLink;
  readonly settings: SettingsKeeper;
  readonly session: MemberSession<CacheMemberStatus>;
  /** This member's own, on the cache's network. */
  address(): string;
  /** As the sidecar's account. @throws AppError `unavailable` */
  connect(at: { path: string } | { host: string; port: number }, timeoutMs?: number): Promise<EngineSession>;
  /** What the turn has come to: told to Consul, and the sentence kept where it is another than before. @param quiet whether the log need not have it */
  tell(status: CacheMemberStatus, quiet: boolean): void;
  /** With the sentence as it was told, not to be changed by what only counts on. */
  say(sentence: string): string;
  /** What was told last. @throws AppError `unavailable` before the first turn */
  status(): CacheMemberStatus;
  sentences(): readonly string[];
  /** A turn begins as soon as the running one has ended. */
  dirty(): void;
  /** Every few seconds: what changes on disk, and the own address. */
  refresh(): Promise<void>;
  /** Keeps the engine alive while something takes longer than a turn may. */
  petting<T>(action: () => Promise<T>): Promise<T>;
  stop(keep: boolean): Promise<void>;
}

/** @throws AppError `conflict` for a volume that another sidecar uses, or that belongs to another member */
export async function openCommon(deps: SidecarDeps, dirty: () => void): Promise<Common> {
  const { config, log } = deps;
  const { cache, member, paths } = config;
  const keys = cacheKeys(cache);
  await mkdir(paths.state, { recursive: true });
  const lock = await holdInstanceLock(paths.lock);
  const credentials = createCredentials(paths.credentials, log, CacheCredentials);
  await credentials.refresh();
  const memory = await openMemory(paths.memory, { cache, member });
  const token = await readToken(paths.consulToken);
  const consul = createConsul({ socketPath: paths.consulSocket, ...(token === undefined ? {} : { token }) });
  let address = (await ownAddress()) ?? '127.0.0.1';
  let slowAt = performance.now();
  let last: CacheMemberStatus | undefined;
  const sentences: string[] = [];
  const supervisor = deps.connectSupervisor(dirty);
  const connect: Common['connect'] = async (at, timeoutMs = ENGINE_TIMEOUT_MS) => {
    return connectEngine({ ...(await engineAccess({ deps, credentials }, at)), timeoutMs });
  };
  const link = createEngineLink(async () => connect({ path: paths.engineSocket }), log);
  const session = keepSession<CacheMemberStatus>({
    ...{ consul, key: keys.member(member), lockKey: keys.leader, member, log, onChange: dirty },
    ...{ name: `cache ${member}`, stillOf },
    // A master waits for it before a planned change, and clients wait with it.
    awaitedOf: ({ rev, leaving = false }) => `${rev} ${leaving}`,
  });

  return {
    ...{ deps, consul, credentials, memory, supervisor, link, session, connect, dirty },
    settings: keepSettings(paths, member, log),
    say: createSayer(),
    address: () => address,
    status() {
      if (last === undefined) throw new AppError('unavailable', 'this member has not looked around yet');
      return last;
    },
    sentences: () => sentences,
    tell(status, quiet) {
      last = status;
      session.set(status);
      const { sentence, rule } = status;
      if (sentences.at(-1)?.endsWith(` ${sentence}`) === true) return;
      if (!quiet) log.info({ rule, sentence }, 'waits');
      sentences.push(`${new Date().toISOString()} ${sentence}`);
      if (sentences.length > KEPT_SENTENCES) sentences.shift();
    },
    async refresh() {
      if (performance.now() - slowAt < SLOW_MS) return;
      slowAt = performance.now();
      if ((await readToken(paths.consulToken)) !== token) deps.onStale();
      await credentials.refresh();
      address = (await ownAddress()) ?? address;
    },
    async petting(action) {
      const timer = setInterval(() => supervisor.pet(PET_MS), PET_EVERY_MS);
      try {
        return await action();
      } finally {
        clearInterval(timer);
      }
    },
    async stop(keep) {
      await session.stop(keep);
      link.drop();
      consul.close();
      lock.close();
    },
  };
}

/** Without a token Consul refuses everything, which harms nothing; the file may come later. */
async function readToken(path: string): Promise<string | undefined> {
  const text = ((await readIfThere(path).catch(() => undefined)) ?? '').trim();
  return text === '' ? undefined : text;
}
