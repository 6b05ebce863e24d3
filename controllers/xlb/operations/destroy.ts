import { AppError } from '#core/errors.ts';
import type { LbDeps } from '#xlb/operations/deps.ts';
import { handService } from '#xlb/schema.ts';
import { specKey } from '#xlb/store.ts';

/**
 * Marks a load balancer as destroyed; the controller removes its members, then its records.
 *
 * @throws AppError `in_use` naming the containers and services that are linked to it
 */
export async function destroyLb(deps: LbDeps, name: string): Promise<void> {
  const { store } = deps;
  const { value: spec } = await store.spec(name);
  const targets = await store.targetsOf(name);
  const services = spec.groups.flatMap((group) => group.services.filter((service) => service !== handService(name, group.name)));
  if (targets.length > 0 || services.length > 0) {
    const links = [...targets.map(({ value }) => `container ${value.container.value}`), ...services.map((service) => `service ${service}`)];
    const [first] = targets;
    const hint =
      first === undefined
        ? `lb remove_service ${name} --service ${services[0]}`
        : `lb remove_container ${name} -l container=${first.value.container.value}`;
    throw new AppError('in_use', `${name} serves ${links.slice(0, 10).join(', ')}${links.length > 10 ? ' and more' : ''}`, {
      hint: `take them out first: ${hint}`,
    });
  }
  await store.specs.update(specKey(name), (present) => (present === undefined ? undefined : { ...present, destroyed: true }));
  await deps.events.record({ object: `lb/${name}`, kind: 'info', reason: 'destroyed', sentence: `${name} is to be removed` });
  deps.markDirty(name);
}
