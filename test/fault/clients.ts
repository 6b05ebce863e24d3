import { AppError } from '#core/errors.ts';
import type { History } from '#test/history/client-process.ts';
import { readJournals } from '#test/history/driver.ts';
import type { Attempt } from '#test/history/journal.ts';
import type { Outcomes } from '#test/history/outcomes.ts';

/** A place that clients write from. */
export interface Post {
  name: string;
  /** False while nothing can run there. */
  usable: () => boolean;
  /** @param who a name that no other client has, and how its journal begins */
  start(who: { client: string; folder: string; seed: number; round: number }): Promise<History>;
}

/** Clients at several places, started again where they died with their host. A client that is started again has a new name. */
export interface Clients {
  /** Starts those that are not there. */
  revive(): Promise<void>;
  /** Transactions from now on belong to this round. */
  round(number: number): Promise<void>;
  /** Ends all and starts new ones: what was written so far is not written to any more. */
  renew(round: number): Promise<void>;
  /** Returns when no transaction is under way. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Acknowledgements, and when the last one came, of those that live. */
  seen(): Promise<{ acked: number; lastAckAt: number; reasons: string[] }>;
  /** What the clients since the last {@link Clients.renew} tried. */
  attempts(): Attempt[];
  /** What all clients ever tried. */
  everything(): Attempt[];
  stop(): Promise<void>;
}

export interface ClientsOptions {
  posts: readonly Post[];
  folder: string;
  seed: number;
}

export function createClients({ posts, folder, seed }: ClientsOptions): Clients {
  const running = new Map<Post, History>();
  let [round, started, window] = [0, 0, 0];
  const living = () => [...running.values()].filter((client) => client.alive());
  /** One that dies while it is asked is as good as one that was dead. */
  const tell = (order: (client: History) => Promise<Outcomes>) =>
    Promise.all(living().map((client) => order(client).catch((error: unknown) => (client.alive() ? Promise.reject(error) : undefined))));

  const clients: Clients = {
    async revive() {
      for (const post of posts) {
        if (running.get(post)?.alive() || !post.usable()) continue;
        const client = `w${window}-${post.name}-${++started}`;
        running.set(post, await post.start({ client, folder, seed: seed + started, round }));
      }
    },
    async round(number) {
      round = number;
      await tell((client) => client.round(number));
    },
    async renew(number) {
      await clients.stop();
      round = number;
      window++;
      await clients.revive();
    },
    pause: async () => void (await tell((client) => client.pause())),
    resume: async () => void (await tell((client) => client.resume())),
    async seen() {
      const all = (await tell((client) => client.report())).filter((one) => one !== undefined);
      if (all.length === 0) throw new AppError('unavailable', 'no client lives');
      return {
        acked: all.reduce((sum, { acked }) => sum + acked, 0),
        lastAckAt: Math.max(...all.map(({ lastAckAt }) => lastAckAt ?? 0)),
        reasons: [...new Set(all.flatMap(({ reasons }) => reasons))],
      };
    },
    attempts: () => readJournals(folder, `w${window}-`),
    everything: () => readJournals(folder),
    async stop() {
      await tell((client) => client.stop());
      for (const client of running.values()) client.kill();
      running.clear();
    },
  };
  return clients;
}
