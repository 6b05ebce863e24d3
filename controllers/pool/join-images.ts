import https from 'node:https';
import type { Readable } from 'node:stream';
import { AppError } from '#core/errors.ts';
import { PORTS } from '#core/paths.ts';
import { VERSION } from '#core/version.ts';
import type { JoinImages } from '#ground/join-routes.ts';
import type { AgentClient } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';

export interface JoinImagesDeps {
  agent(host: Host): AgentClient;
  /** The host this control runs on: its engine has every image of this version. */
  ownHost(): Promise<Host>;
  tls: { current(): { ca: string; cert: string; key: string } };
}

/** What a host runs; the image of bundled programs that others are built from is not among them. */
const CARRIED = ['consul', 'control', 'xlb', 'xdb', 'xcache'].map((name) => `xcaas/${name}:${VERSION}`);

/** The images of this version that a host needs to join, read from the engine of this host through its agent. */
export function joinImages({ agent, ownHost, tls }: JoinImagesDeps): JoinImages {
  return {
    async list() {
      const images = await agent(await ownHost()).images();
      return images.flatMap(({ id, tags, sizeBytes }) => {
        const ours = tags.filter((tag) => CARRIED.includes(tag));
        return ours.length === 0 ? [] : [{ id, tags: ours, sizeBytes }];
      });
    },
    async save(id) {
      const host = await ownHost();
      return openStream(host.spec.address, `/v1/images/${encodeURIComponent(id)}/tar`, tls.current());
    },
  };
}

function openStream(host: string, path: string, tls: { ca: string; cert: string; key: string }): Promise<Readable> {
  return new Promise((resolve, reject) => {
    const request = https.get({ host, port: PORTS.agent, path, ...tls, agent: false }, (answer) => {
      if (answer.statusCode === 200) return resolve(answer);
      answer.resume();
      reject(new AppError('engine', `the agent of ${host} answered ${answer.statusCode} when asked for an image`));
    });
    request.on('error', (cause) =>
      reject(new AppError('unavailable', `the agent of ${host} cannot be reached: ${cause.message}`, { cause })),
    );
  });
}
