import { messageOf } from '#core/errors.ts';
import type { Logger } from '#core/log.ts';
import { tableText } from './sinks.ts';
import type { Store } from './store.ts';
import type { TableContent } from './table.ts';

/** Brings the tables of one group to disk: the first of a burst at once, then the newest now and then. */
export interface TableSaver {
  save(content: TableContent, version: number): void;
  /** Why the newest table is not on disk. */
  trouble(): string | undefined;
  /** Nothing is written any more. */
  stop(): void;
}

/** Shortest time between two writes, in milliseconds; ten times that after a failure. */
const EVERY_MS = 1000;

export function createTableSaver({ name, store, log }: { name: string; store: Pick<Store, 'saveTable'>; log: Logger }): TableSaver {
  let next: { content: TableContent; version: number } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let trouble: string | undefined;
  let writing = false;
  let stopped = false;

  async function write(): Promise<void> {
    if (writing || stopped || next === undefined) return;
    writing = true;
    const taken = next;
    next = undefined;
    try {
      await store.saveTable(name, tableText(taken.content, taken.version));
      trouble = undefined;
    } catch (error) {
      trouble = `the table of ${name} could not be saved: ${messageOf(error)}`;
      log.warn({ group: name, err: messageOf(error) }, 'a table could not be saved');
      next ??= taken;
    }
    writing = false;
    if (stopped) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        void write();
      },
      trouble === undefined ? EVERY_MS : 10 * EVERY_MS,
    );
  }

  return {
    save(content, version) {
      next = { content, version };
      if (timer === undefined) void write();
    },
    trouble: () => trouble,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
