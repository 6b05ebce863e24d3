import type { EngineSession } from '#xcache/engine/session.ts';

/** Connections to the engines of other members, each kept while its member is where it was. */
export interface ClusterPeers {
  /** @throws AppError `unavailable`, `timeout` */
  session(member: string, address: string): Promise<EngineSession>;
  /** What was asked on a connection that is in doubt may still come. */
  drop(member: string): void;
  close(): void;
}

export function createClusterPeers(connect: (address: string) => Promise<EngineSession>): ClusterPeers {
  const open = new Map<string, { address: string; session: EngineSession }>();
  const drop = (member: string) => {
    open.get(member)?.session.close();
    open.delete(member);
  };
  return {
    drop,
    async session(member, address) {
      const there = open.get(member);
      if (there?.address === address) return there.session;
      drop(member);
      const session = await connect(address);
      open.set(member, { address, session });
      return session;
    },
    close() {
      for (const member of [...open.keys()]) drop(member);
    },
  };
}
