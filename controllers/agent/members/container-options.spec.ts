import { expect, test } from 'vitest';
import { hostPaths } from '#core/paths.ts';
import { MemberSpec, specHash } from '#pool/member.ts';
import { containerOptions } from './container-options.ts';

const base = { id: 'web-1', kind: 'lb', service: 'web', image: `sha256:${'a'.repeat(64)}`, network: 'xcaas' } as const;
const context = { paths: hostPaths(''), hostId: 'h1', openFilesLimit: 20_000 };

test('a member as the engine is asked for it', () => {
  const spec = MemberSpec.parse({
    ...base,
    aliases: ['web'],
    env: { A: '1' },
    volumes: { data: '/data' },
    cpuset: '0-1',
    memoryBytes: 1000,
    publish: [
      { hostPort: 80, port: 8080, protocol: 'tcp' },
      { hostPort: 81, port: 8080, protocol: 'tcp', hostAddress: '127.0.0.1' },
      { hostPort: 53, port: 53, protocol: 'udp' },
    ],
  });
  const options = containerOptions(spec, context);
  expect(options).toMatchObject({
    name: 'web-1',
    Hostname: 'web-1',
    Image: base.image,
    Env: ['A=1'],
    StopTimeout: 30,
    Labels: { 'xcaas.kind': 'lb', 'xcaas.name': 'web', 'xcaas.member': 'web-1', 'xcaas.hash': specHash(spec), 'xcaas.host': 'h1' },
    HostConfig: {
      NetworkMode: 'xcaas',
      RestartPolicy: { Name: 'unless-stopped' },
      CpusetCpus: '0-1',
      Memory: 1000,
      MemorySwap: 1000,
      PortBindings: { '8080/tcp': [{ HostPort: '80' }, { HostPort: '81', HostIp: '127.0.0.1' }], '53/udp': [{ HostPort: '53' }] },
      Ulimits: [{ Name: 'nofile', Soft: 20_000, Hard: 20_000 }],
    },
    NetworkingConfig: { EndpointsConfig: { xcaas: { Aliases: ['web'] } } },
  });
  expect(options.HostConfig!.Mounts).toEqual(
    [
      ['/var/lib/xcaas/volumes/web-1/data', '/data', false],
      ['/run/xcaas/members/web-1', '/run/member', false],
      ['/run/xcaas/secrets/web-1', '/run/secrets', true],
      ['/run/xcaas/consul', '/run/consul', true],
      ['/run/xcaas/agent', '/run/agent', true],
    ].map(([Source, Target, ReadOnly]) => ({ Type: 'bind', Source, Target, ReadOnly })),
  );
});

test('what was not asked for is left to the engine; a higher limit of the host is not given away', () => {
  const options = containerOptions(MemberSpec.parse(base), { ...context, openFilesLimit: 5_000_000 });
  expect(options.HostConfig).not.toHaveProperty('CpusetCpus');
  expect(options.HostConfig).not.toHaveProperty('Memory');
  expect(options.HostConfig!.Ulimits).toEqual([{ Name: 'nofile', Soft: 1_048_576, Hard: 1_048_576 }]);
});
