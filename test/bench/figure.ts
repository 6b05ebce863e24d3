/** One line of the table at the end. */
export interface Row {
  figure: string;
  bar: string;
  measured: string;
  /** Undefined: not measured here, `measured` says why, or a figure without a bar. */
  met: boolean | undefined;
  /** The same for programs. */
  values: Record<string, number | string>;
}

/** How long things are measured. */
export interface Plan {
  quick: boolean;
  /** Pairs of rounds, and seconds of each round, of what is compared with a baseline. */
  rounds: number;
  roundSeconds: number;
  /** Seconds in which each single request is accounted for. */
  exactSeconds: number;
  /** How many changes are timed from Consul to the first request. */
  changes: number;
  /** Seconds over which rest is measured. */
  restSeconds: number;
  /** Endpoint changes under open WebSockets. */
  socketChanges: number;
  /** Starts without Consul. */
  starts: number;
  /** Switchovers, crashes of an engine and losses of a host, each of which is timed. */
  switchovers: number;
  crashes: number;
  hostLosses: number;
  /** Pairs of rounds of a database that waits for its slave against one that does not. */
  commitRounds: number;
  /** Of each kind of fault of a cache's master; changes of the number of a cluster's shards, to and fro; restarts of all its members at once. */
  failovers: number;
  reshards: number;
  heals: number;
  /** Pairs of rounds through a cache's endpoint and past it. */
  endpointRounds: number;
  /** Caches that are made, of each kind. */
  creates: number;
}

export const FULL: Plan = {
  ...{ quick: false, rounds: 16, roundSeconds: 3, exactSeconds: 10, changes: 120, restSeconds: 60, socketChanges: 1000, starts: 5 },
  ...{ switchovers: 20, crashes: 10, hostLosses: 5, commitRounds: 10 },
  ...{ failovers: 20, reshards: 2, heals: 3, endpointRounds: 8, creates: 3 },
};
export const QUICK: Plan = {
  ...{ quick: true, rounds: 4, roundSeconds: 2, exactSeconds: 4, changes: 40, restSeconds: 15, socketChanges: 200, starts: 2 },
  ...{ switchovers: 4, crashes: 2, hostLosses: 1, commitRounds: 3 },
  ...{ failovers: 3, reshards: 1, heals: 1, endpointRounds: 2, creates: 1 },
};

/** Says what is going on, to a person who waits. */
export type Say = (text: string) => void;
