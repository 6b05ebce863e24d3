import { dirname } from 'node:path';
import type { ConsulClient } from '#core/consul/client.ts';
import type { TestConsul } from '#test/consul.ts';
import { type Member, memberToken, startLabConsul, startMember, webSpec } from '../appliance/xlb-sidecar-lab.ts';

/** A real Consul with ACLs, and members as an agent starts them; all that was started ends with `stop`, the last first. */
export interface Lab {
  server: TestConsul;
  consul: ConsulClient;
  /** Runs what ends something when the lab stops. */
  after(end: () => Promise<unknown>): void;
  /**
   * Writes the specification and starts a member.
   *
   * @param fields of the specification
   * @param more arguments of `docker run`
   */
  member(lb: string, fields: Record<string, unknown>, more?: readonly string[]): Promise<Member>;
  stop(): Promise<void>;
}

/** Access logs are written but kept by nobody: how fast an engine stores them is not what is compared. Members log as they do in a pool. */
export const QUIET = ['--log-driver', 'none'];

/** The engine's question whether a container is well starts a program every ten seconds: not while what serves requests is compared. */
export const UNASKED = '--no-healthcheck';

export async function startLab(): Promise<Lab> {
  const ends: (() => Promise<unknown>)[] = [];
  const { server, client: consul } = await startLabConsul();
  ends.push(async () => {
    consul.close();
    await server.stop();
  });
  return {
    server,
    consul,
    after: (end) => ends.push(end),
    async member(lb, fields, more = []) {
      await consul.kv.put(`xcaas/lb/${lb}/spec`, JSON.stringify(webSpec(lb, fields)));
      const token = await memberToken(consul, lb, `${lb}-1`);
      const args = [...QUIET, '--env', 'XCAAS_LOG=info', ...more];
      const member = await startMember({ lb, consulFolder: dirname(server.socketPath), token, args });
      ends.push(() => member.stop());
      return member;
    },
    async stop() {
      for (const end of ends.toReversed()) await end().catch((error: unknown) => console.error(`bench: ${String(error)}`));
    },
  };
}
