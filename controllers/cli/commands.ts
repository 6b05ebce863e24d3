import type { Command } from '#cli/command.ts';
import { cacheCommands } from '#cli/commands/cache.ts';
import { cacheChangeCommands } from '#cli/commands/cache-changes.ts';
import { cacheConnectCommands } from '#cli/commands/cache-connect.ts';
import { cacheDataCommands } from '#cli/commands/cache-data.ts';
import { dbCommands } from '#cli/commands/db.ts';
import { dbBackupCommands } from '#cli/commands/db-backups.ts';
import { dbChangeCommands } from '#cli/commands/db-changes.ts';
import { dbConnectCommands } from '#cli/commands/db-connect.ts';
import { dbRecoverCommand } from '#cli/commands/db-recover.ts';
import { dbUserCommands } from '#cli/commands/db-users.ts';
import { demoCommands } from '#cli/commands/demo.ts';
import { lbCommands } from '#cli/commands/lb.ts';
import { notBuiltCommands } from '#cli/commands/not-built.ts';
import { xcaasCommands } from '#cli/commands/xcaas.ts';

/** Everything that the command line offers. */
export const COMMANDS: readonly Command[] = [
  ...xcaasCommands,
  ...lbCommands,
  ...dbCommands,
  ...dbChangeCommands,
  dbRecoverCommand,
  ...dbConnectCommands,
  ...dbUserCommands,
  ...dbBackupCommands,
  ...cacheCommands,
  ...cacheChangeCommands,
  ...cacheConnectCommands,
  ...cacheDataCommands,
  ...demoCommands,
  ...notBuiltCommands,
];
