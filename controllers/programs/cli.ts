import { COMMANDS } from '#cli/commands.ts';
import { runCli } from '#cli/main.ts';

process.exitCode = await runCli({
  name: process.env.XCAAS_PROGRAM ?? 'xcaas',
  argv: process.argv.slice(2),
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  commands: COMMANDS,
});
