import type { Plan, Row, Say } from './figure.ts';

/** What `./xcaas bench <thing>` measures. */
export interface Suite {
  /** Of figures, for `--only`. */
  names: readonly string[];
  /** Image of the machine's description, and commands in it that say a version. */
  image(): Promise<string>;
  programs: Readonly<Record<string, readonly string[]>>;
  /** Groups that are measured together, in this order. @param only names that are wanted, never none */
  groups(options: { plan: Plan; only: ReadonlySet<string>; say: Say }): Group[];
}

export interface Group {
  name: string;
  wanted: boolean;
  measure(): Promise<Row[]>;
}
