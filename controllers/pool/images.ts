import { AppError, hasCode, messageOf } from '#core/errors.ts';
import type { FetchImageAnswer, ImageReport } from '#pool/agent-api.ts';
import type { AgentClient, CallOptions } from '#pool/agent-client.ts';
import type { Host } from '#pool/host.ts';

export interface ImageAccess {
  agent(host: Host): Pick<AgentClient, 'images' | 'fetchImage'>;
}

/**
 * Which image a tag means on one host, normally the manager that leads. Members are made by its id, so all of a service run the same
 * image whatever the tag means elsewhere or later.
 *
 * @throws AppError `not_found` when the host has no such image
 */
export async function resolveImage(access: ImageAccess, host: Host, tag: string): Promise<ImageReport> {
  const images = await access.agent(host).images();
  const found =
    images.find((image) => image.id === tag) ?? images.find((image) => image.tags.some((each) => fullTag(each) === fullTag(tag)));
  if (found !== undefined) return found;
  throw new AppError('not_found', `${host.spec.name} has no image ${tag}`, { hint: './xcaas up builds or pulls what is missing' });
}

/**
 * An appliance's image that a user names: on the host that leads, else on any host that lives. Members are made by its id and get it carried there.
 *
 * @param hosts those that are asked, in this order
 * @throws AppError `not_found` when no host has such an image, `invalid` when it is something else than that appliance
 */
export async function findAppliance(
  access: ImageAccess,
  { ref, appliance, hosts }: { ref: string; appliance: string; hosts: readonly Host[] },
): Promise<ImageReport> {
  const silent: string[] = [];
  for (const host of hosts.filter((each) => each.alive)) {
    try {
      const image = await resolveImage(access, host, ref);
      const is = image.labels['xcaas.appliance'];
      if (is === appliance) return image;
      const what = is === undefined ? 'no appliance' : `the appliance ${is}`;
      throw new AppError('invalid', `the image ${ref} is ${what}, and ${appliance} is asked for`, {
        hint: `an image for it carries the label xcaas.appliance=${appliance}`,
      });
    } catch (error) {
      if (hasCode(error, 'invalid')) throw error;
      if (!hasCode(error, 'not_found')) silent.push(`${host.spec.name} (${messageOf(error)})`);
    }
  }
  const holes = silent.length === 0 ? '' : `; could not ask ${silent.join(', ')}`;
  throw new AppError('not_found', `no host that lives has the image ${ref}${holes}`, {
    hint: 'load it on any host (docker load, docker pull), or leave --image away for the built-in one',
  });
}

/** What the engine takes a short name for: `xcaas/xlb` is `xcaas/xlb:latest`, `docker.io/library/x` is `x`. */
export function fullTag(tag: string): string {
  const name = tag.replace(/^docker\.io\//, '').replace(/^library\//, '');
  const last = name.slice(name.lastIndexOf('/') + 1);
  return last.includes(':') || last.includes('@') ? name : `${name}:latest`;
}

/**
 * Makes sure that a host has an image before a member is placed there: its agent fetches it, verified by id, from a host that has it.
 *
 * @param hosts the pool; hosts that do not live, and the host itself, are no source
 * @returns `fetched: false` when it was there
 * @throws AppError `not_found` when no living host has it, naming those that could not be asked; else what the agent says
 */
export async function ensureImage(
  access: ImageAccess,
  { id, host, hosts, tags, options = {} }: { id: string; host: Host; hosts: readonly Host[]; tags?: string[]; options?: CallOptions },
): Promise<FetchImageAnswer> {
  const has = async (each: Host) => (await access.agent(each).images()).some((image) => image.id === id);
  if (await has(host)) return { id, fetched: false };

  const others = hosts.filter((each) => each.alive && each.spec.id !== host.spec.id);
  const silent: string[] = [];
  const answers = await Promise.all(
    others.map(async (each) => {
      try {
        return (await has(each)) ? [each] : [];
      } catch (error) {
        silent.push(`${each.spec.name} (${messageOf(error)})`);
        return [];
      }
    }),
  );
  // The same group first: less traffic between racks and rooms. Managers are spared where another host has it.
  const near = (each: Host) => (each.spec.group === host.spec.group ? 0 : 2) + (each.spec.manager ? 1 : 0);
  const sources = answers.flat().sort((a, b) => near(a) - near(b) || (a.spec.id < b.spec.id ? -1 : 1));
  if (sources.length === 0) {
    const holes = silent.length === 0 ? '' : `; could not ask ${silent.join(', ')}`;
    throw new AppError('not_found', `no host that lives has the image ${id.slice(0, 19)} that ${host.spec.name} needs${holes}`, {
      hint: './xcaas up on a host builds or pulls what is missing',
    });
  }
  return access
    .agent(host)
    .fetchImage({ id, from: sources.map(({ spec }) => spec.address), ...(tags === undefined ? {} : { tags }) }, options);
}
