import { demoCommands } from '#cli/commands/demo.ts';
import { lbCommands } from '#cli/commands/lb.ts';
import { notBuiltCommands, notOfferedDbCommands } from '#cli/commands/not-built.ts';
import { xcaasCommands } from '#cli/commands/xcaas.ts';
import { runCli } from '#cli/main.ts';

process.exitCode = await runCli({
  name: process.env.XCAAS_PROGRAM ?? 'xcaas',
  argv: process.argv.slice(2),
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  commands: [...xcaasCommands, ...lbCommands, ...demoCommands, ...notOfferedDbCommands, ...notBuiltCommands],
});
