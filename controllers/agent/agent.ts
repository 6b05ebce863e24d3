import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { type ConsulClient, createConsul } from '#core/consul/client.ts';
import { createDocker } from '#core/docker.ts';
import { AppError, messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { createLoop } from '#core/loop.ts';
import { type HostPaths, PORTS } from '#core/paths.ts';
import { VERSION } from '#core/version.ts';
import { renewCertificate, tlsMaterial } from '#ground/cert-rotation.ts';
import { rememberServers } from '#ground/consul-config.ts';
import { listHosts, readHostRecord } from '#ground/host-record.ts';
import { buildAgentSocket, listenForMembers } from './agent-socket.ts';
import { createApiProxy } from './api-proxy.ts';
import { createControlAddresses } from './control-addresses.ts';
import { createFactsLoop, readFacts } from './facts.ts';
import { openFence } from './fence.ts';
import { createGroundDuties } from './ground-duties.ts';
import { createImages } from './images.ts';
import { createLeftBehind } from './left-behind.ts';
import { openFilesLimit } from './limits.ts';
import { createKeeper } from './members/keeper.ts';
import { createMembers } from './members/members.ts';
import { openSecretStore } from './members/secrets.ts';
import { openMemberStore } from './members/store.ts';
import { listVolumes } from './members/volumes.ts';
import { createAgentMetrics } from './metrics.ts';
import { createPresence } from './presence.ts';
import { openDrainMarks } from './registrar/marks.ts';
import { createRegistrar } from './registrar/registrar.ts';
import { createProber } from './remote-probe.ts';
import { buildAgentServer } from './server.ts';

export interface AgentOptions {
  paths: HostPaths;
  dockerSocket: string;
  log: Logger;
  /** The network whose address is registered where a label names none. */
  poolNetwork?: string;
  ports?: { api: number; agent: number; control: number };
}

export interface Agent {
  /** Ends what it runs; members and registrations go on. */
  close(): Promise<void>;
}

/** Milliseconds between looks at certificates, the list of servers and control. */
const GROUND_INTERVAL_MS = 60_000;

/**
 * The program of one host. It starts with or without Consul, Docker or control: what cannot be done yet is tried again.
 *
 * @throws AppError `not_found` when the host is of no pool
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { paths, dockerSocket, log, poolNetwork = 'xcaas', ports = PORTS } = options;
  const record = await readHostRecord(paths.hostFile);
  if (record === undefined)
    throw new AppError('not_found', `this host is of no pool: there is no ${paths.hostFile}`, { hint: './xcaas up' });
  let host = record;
  const token = (await readFile(join(paths.tokens, 'agent'), 'utf8')).trim();
  const identity = await tlsMaterial(paths, 'agent', { log });
  const docker = createDocker({ socketPath: dockerSocket });
  const consul = createConsul({ socketPath: paths.consulSocket, token });

  const fence = await openFence(join(paths.agentState, 'fence'));
  const store = await openMemberStore(join(paths.agentState, 'members'));
  const secrets = await openSecretStore(paths.agentState);
  const marks = await openDrainMarks(join(paths.agentState, 'drained.json'));
  const members = createMembers({ docker, paths, hostId: host.id, store, secrets, openFilesLimit: await openFilesLimit(), log });
  const facts = () => readFacts({ docker, paths, consul, version: VERSION });
  const addresses = createControlAddresses({ consul, paths, host: () => host });
  const duties = createGroundDuties({
    docker,
    paths,
    addresses,
    log,
    controlPort: ports.control,
    onPromoted: (promoted) => (host = promoted),
  });
  const images = createImages({ docker, identity, log, port: ports.agent });

  const registrar = createRegistrar({
    docker,
    consul,
    marks,
    log,
    host: { hostId: host.id, hostAddress: host.address, poolNetwork },
    onLatency: (action, ms) => metrics.registration.observe({ action }, ms / 1000),
  });
  const keeper = createKeeper({ members, store, log });
  const leftBehind = createLeftBehind({ docker, log });
  const presence = createPresence({ consul, hostId: host.id, log, version: VERSION });
  const factsLoop = createFactsLoop({ hostId: host.id, log, read: facts, consul });
  const ground = createLoop({
    name: 'ground',
    log,
    intervalMs: GROUND_INTERVAL_MS,
    async cycle() {
      const said: string[] = [];
      // One that fails does not keep the others from being done.
      const attempt = async (what: string, action: () => Promise<string | undefined>) => {
        const sentence = await action().catch((error: unknown) => `${what} failed: ${messageOf(error)}`);
        if (sentence !== undefined) said.push(sentence);
      };
      host = (await readHostRecord(paths.hostFile)) ?? host;
      await attempt('starting control', async () => (host.manager && (await duties.startControl()) ? 'control was started' : undefined));
      await attempt('remembering the managers', async () => {
        const managers = (await listHosts(consul)).filter(({ manager }) => manager).map(({ address }) => address);
        if (managers.length > 0) await rememberServers(paths, host, managers);
        return `${managers.length} managers are known`;
      });
      await attempt('renewing the certificate', async () => {
        const controls = await addresses.candidates();
        if (!(await renewCertificate({ paths, controls, consul, port: ports.control }))) return 'the certificate is good';
        await identity.refresh();
        return 'the certificate was renewed';
      });
      return said.join('; ');
    },
  });
  const metrics = createAgentMetrics({ registrar: registrar.loop, keeper, presence, facts: factsLoop, ground, leftBehind });

  const server = buildAgentServer({
    identity,
    fence,
    log,
    metrics,
    members,
    volumes: () => listVolumes(paths.volumes, store),
    paths,
    docker,
    hostId: host.id,
    registrar,
    facts,
    images,
    ground: duties,
  });
  const forMembers = buildAgentSocket({
    probe: createProber({ consul, identity, hostId: host.id, port: ports.agent }),
    registry: metrics.registry,
    log,
  });
  const proxy = createApiProxy({ identity, addresses, log, consulTrouble: () => consulTrouble(consul), controlPort: ports.control });

  const loops = [keeper, leftBehind, presence, factsLoop, ground];
  const close = async () => {
    proxy.close();
    proxy.closeAllConnections();
    await Promise.all([registrar.stop(), ...loops.map((loop) => loop.stop()), server.close(), forMembers.close()]);
    identity.stop();
    consul.close();
  };
  try {
    await listenForMembers(forMembers, paths.agentSocket);
    await server.listen({ host: host.address, port: ports.agent });
    await listen(proxy, ports.api);
  } catch (error) {
    await close();
    throw error;
  }
  registrar.start();
  for (const loop of loops) loop.start();
  log.info({ host: host.name, address: host.address, version: VERSION }, 'the agent runs');
  return {
    async close() {
      await close();
      log.info('the agent has ended; members and registrations go on');
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

async function consulTrouble(consul: ConsulClient): Promise<string | undefined> {
  try {
    const { status, body } = await consul.request('GET', '/v1/status/leader', { timeoutMs: 2000 });
    if (status === 200 && typeof body === 'string' && body !== '') return undefined;
    return 'it knows no leader: fewer than half of the Consul servers answer';
  } catch (error) {
    return messageOf(error);
  }
}
