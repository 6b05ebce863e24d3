import process from 'node:process';
import { runMember } from '#member/program.ts';
import { createTcpDriver } from '#tcp/driver.ts';
import { readConfig } from '#xlb/sidecar/config.ts';
import { startSidecar } from '#xlb/sidecar/sidecar.ts';

/** The sidecar of a load balancer's member, beside nginx and HAProxy (images/xlb). A signal means that the container ends. */
await runMember({ name: 'xlb', keepOnSignal: false, stopMs: 3000 }, ({ log, onStale }) => {
  const config = readConfig(process.env);
  const { haproxySocket, haproxyMaster, haproxyState } = config.paths;
  const tcp = createTcpDriver({
    ...{ runtimeSocket: haproxySocket, masterSocket: haproxyMaster, stateDir: haproxyState, log },
    // Endpoints may change many times a second; after a restart with neither Consul nor sidecar a second is no loss.
    saveEveryMs: 1000,
  });
  return startSidecar({ config, tcp, log, onStale });
});
