import { Readable } from 'node:stream';
import { type Docker, isNotFound } from '#core/docker.ts';
import { AppError, messageOf } from '#core/errors.ts';
import { errorFromBody } from '#core/http.ts';
import type { Logger } from '#core/log.ts';
import { PORTS } from '#core/paths.ts';
import { sleep } from '#core/sleep.ts';
import { type FetchImageAnswer, type FetchImageRequest, type ImageReport, ImagesAnswer } from '#pool/agent-api.ts';
import { engineError } from './engine-errors.ts';
import { createKeyedMutex } from './mutex.ts';
import { type Identity, readJson, requestPeer } from './tls-call.ts';

/** Bytes a second that a fetch may use: half of a gigabit link, so that services keep the rest. */
const FETCH_BYTES_PER_SECOND = 60 * 2 ** 20;

export interface Images {
  list(): Promise<ImageReport[]>;
  /** The image as `docker save` writes it. @throws AppError `not_found` */
  tar(id: string): Promise<Readable>;
  /**
   * Takes an image from another host's agent, by ID, one at a time. A transfer that broke begins anew.
   *
   * @param proceed asked once it is this call's turn; throws to call it off (the fence)
   * @throws AppError `unavailable` when none of the hosts could give it, `engine` when what came was not that image
   */
  fetch(request: FetchImageRequest, proceed?: () => void): Promise<FetchImageAnswer>;
}

export interface ImagesOptions {
  docker: Docker;
  identity: Identity;
  log: Logger;
  /** The port agents listen on. */
  port?: number;
  bytesPerSecond?: number;
}

export function createImages(options: ImagesOptions): Images {
  const { docker, identity, log, port = PORTS.agent, bytesPerSecond = FETCH_BYTES_PER_SECOND } = options;
  const mutex = createKeyedMutex();

  async function has(id: string): Promise<boolean> {
    try {
      return (await docker.getImage(id).inspect()).Id === id;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw engineError(error, `looking for the image ${id}`);
    }
  }

  async function list(): Promise<ImageReport[]> {
    try {
      const images = await docker.listImages();
      return images.map(({ Id, RepoTags, Size, Labels }) => ({
        id: Id,
        tags: (RepoTags ?? []).filter((tag) => tag !== '<none>:<none>'),
        sizeBytes: Size,
        labels: Labels ?? {},
      }));
    } catch (error) {
      throw engineError(error, 'listing the images');
    }
  }

  async function fetchFrom(host: string, id: string): Promise<{ bytes: number; tags: string[] }> {
    const call = (path: string) => requestPeer({ host, port, role: 'agent', method: 'GET', path, timeoutMs: 30_000 }, identity);
    const listing = await call('/v1/images');
    const body = await readJson(listing);
    const status = listing.statusCode ?? 0;
    if (status !== 200) throw errorFromBody({ status, headers: listing.headers, body }, `the agent at ${host}`);
    const offered = ImagesAnswer.parse(body).images.find((image) => image.id === id);
    if (offered === undefined) throw new AppError('not_found', `${host} does not have the image ${id}`);
    const incoming = await call(`/v1/images/${id}/tar`);
    if (incoming.statusCode !== 200) {
      const answer = { status: incoming.statusCode ?? 0, headers: incoming.headers, body: await readJson(incoming) };
      throw errorFromBody(answer, `the agent at ${host}`);
    }
    const counter = { bytes: 0 };
    await load(Readable.from(paced(incoming, bytesPerSecond, counter), { objectMode: false }));
    return { bytes: counter.bytes, tags: offered.tags };
  }

  async function load(tar: Readable): Promise<void> {
    let said: NodeJS.ReadableStream;
    try {
      said = await docker.loadImage(tar, { quiet: true });
    } catch (error) {
      throw engineError(error, 'loading an image');
    } finally {
      tar.destroy();
    }
    const text: string[] = [];
    for await (const chunk of said) text.push(String(chunk));
    const failure = /"error":"([^"]*)"/.exec(text.join(''));
    if (failure !== null) throw engineError(new Error(failure[1]), 'loading an image');
  }

  /** A tag of somebody else's image is left where it is; ours follow the newest image. */
  async function restoreTags(id: string, tags: readonly string[]): Promise<void> {
    const images = await list();
    for (const tag of tags) {
      const holder = images.find((image) => image.tags.includes(tag));
      if (holder !== undefined && (holder.id === id || !tag.startsWith('xcaas/'))) continue;
      const at = tag.lastIndexOf(':');
      await docker.getImage(id).tag({ repo: tag.slice(0, at), tag: tag.slice(at + 1) });
    }
  }

  return {
    list,
    async tar(id) {
      if (!(await has(id))) throw new AppError('not_found', `this host does not have the image ${id}`);
      try {
        return (await docker.getImage(id).get()) as unknown as Readable;
      } catch (error) {
        throw engineError(error, `saving the image ${id}`);
      }
    },
    fetch({ id, from, tags }, proceed = () => undefined) {
      return mutex.run('fetch', async () => {
        proceed();
        if (await has(id)) {
          if (tags !== undefined) await restoreTags(id, tags);
          return { id, fetched: false };
        }
        const failures: string[] = [];
        for (const host of from) {
          try {
            const { bytes, tags: offered } = await fetchFrom(host, id);
            if (!(await has(id))) throw new AppError('engine', `what ${host} sent is not the image ${id}`);
            await restoreTags(id, tags ?? offered);
            log.info({ image: id, from: host, bytes }, 'an image was fetched');
            return { id, fetched: true, from: host, bytes };
          } catch (error) {
            failures.push(`${host}: ${messageOf(error)}`);
          }
        }
        throw new AppError(
          'unavailable',
          `the image ${id} could not be had: ${failures.join('; ') || 'no host to take it from was named'}`,
          {
            hint: 'load it on any host of the pool (docker load), then try again',
          },
        );
      });
    },
  };
}

/** Passes a stream on, no faster than `bytesPerSecond`, and counts it. */
export async function* paced(stream: AsyncIterable<Buffer>, bytesPerSecond: number, counter: { bytes: number }): AsyncGenerator<Buffer> {
  const began = performance.now();
  for await (const chunk of stream) {
    counter.bytes += chunk.length;
    yield chunk;
    const aheadMs = (counter.bytes / bytesPerSecond) * 1000 - (performance.now() - began);
    // Below the timers' own grain waiting would only be noise.
    if (aheadMs > 5) await sleep(aheadMs);
  }
}
