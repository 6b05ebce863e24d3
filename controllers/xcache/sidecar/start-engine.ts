import { writeFile } from 'node:fs/promises';
import type { Supervisor } from '#member/supervisor.ts';
import { shardPlace } from '#xcache/cluster/shard-place.ts';
import { engineFiles } from '#xcache/engine/files.ts';
import type { CacheCredentials, CacheSpec } from '#xcache/schema.ts';
import type { SidecarPaths } from './config.ts';
import { beginsAppendOnly, diskForm } from './disk-form.ts';

export interface EngineStart {
  paths: SidecarPaths;
  supervisor: Pick<Supervisor, 'start'>;
  spec: CacheSpec;
  member: string;
  credentials: CacheCredentials;
  address: string;
  port: number;
}

/** Writes the engine's files anew and has it started. @throws AppError `conflict`, `timeout` of the supervisor */
export async function startEngine({ paths, supervisor, spec, member, ...rest }: EngineStart): Promise<void> {
  const files = engineFiles({
    ...{ spec, place: shardPlace(spec, member), ...rest },
    appendOnly: beginsAppendOnly(spec.persistence, await diskForm(paths.data)),
    paths: { data: paths.data, acl: paths.engineAcl, socket: paths.engineSocket, tls: paths.tls },
  });
  // Made anew with each start, in a folder of the container's own memory: nothing has to survive.
  await writeFile(paths.engineConfig, files.config, { mode: 0o600 });
  await writeFile(paths.engineAcl, files.acl, { mode: 0o600 });
  await supervisor.start({ file: `/usr/bin/${spec.engine}-server`, args: [paths.engineConfig] });
}
