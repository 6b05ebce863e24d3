import process from 'node:process';
import { ownSupervisor, runMember, SUPERVISED } from '#member/program.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { readConfig } from '#xcache/sidecar/config.ts';
import { readGuards } from '#xcache/sidecar/guards.ts';
import { startSidecar } from '#xcache/sidecar/sidecar.ts';

/** The sidecar of a cache's member, beside its engine and HAProxy (images/xcache). */
await runMember({ name: 'xcache', ...SUPERVISED }, (program) => {
  const { log } = program;
  const config = readConfig(process.env);
  const { haproxySocket, haproxyMaster, haproxyState } = config.paths;
  if (config.testGuards !== '') log.warn({ guards: config.testGuards }, 'this member is under test: it is not safe');
  return startSidecar({
    ...program,
    connectSupervisor: (onEvent) => ownSupervisor(log, onEvent),
    config,
    guards: readGuards(config.testGuards),
    tcp: createTcpDriver({ runtimeSocket: haproxySocket, masterSocket: haproxyMaster, stateDir: haproxyState, log }),
  });
});
