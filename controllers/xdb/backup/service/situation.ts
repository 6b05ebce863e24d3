import type { DbSpec } from '#xdb/schema.ts';

/** What backups have to know of a member at a moment; from the sidecar's last turn. */
export interface Situation {
  spec: DbSpec;
  epoch: number;
  /** This start of the engine. */
  instance: string;
  engineVersion: string;
  /** This member is the open leader. */
  leads: boolean;
  /** What it has is the leader's history: it is the leader, or follows it and was compared with it. */
  faithful: boolean;
  /** Slave that holds everything, by the record. */
  sync: string | undefined;
  /** Members whose sidecars live. */
  present: readonly string[];
}
