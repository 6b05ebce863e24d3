import { AppError } from '#core/errors.ts';
import type { ParameterRow } from '#pool/parameters.ts';
import type { CacheDeps } from '#xcache/operations/deps.ts';
import { changeCache, livingSpec } from '#xcache/operations/living.ts';
import { refuseForgetting } from '#xcache/operations/maintain.ts';
import { describeParameters, needRestart, parameter, validateParameters } from '#xcache/parameters.ts';

/** Every setting of the engine that can be changed, with its value. */
export async function listParameters(deps: CacheDeps, name: string): Promise<ParameterRow[]> {
  const { value } = await livingSpec(deps, name);
  return describeParameters(value);
}

/**
 * Sets settings of the engine; an empty value gives one back its default. What takes effect with a start only is rolled out: replicas first, then a switchover.
 *
 * @returns names that need the members to be restarted, which is under way then
 * @throws AppError `invalid` for one that cannot be set, or not to that; nothing is changed then
 */
export async function setParameters(
  deps: CacheDeps,
  name: string,
  given: Readonly<Record<string, string>>,
): Promise<{ restarts: string[]; sentence: string }> {
  if (Object.keys(given).length === 0) throw new AppError('usage', 'no parameter is given', { hint: `cache param list ${name}` });
  const gone = Object.keys(given)
    .filter((key) => given[key] === '')
    .map((key) => parameter(key).name);
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''));
  let restarts: string[] = [];
  const words = Object.entries(given).map(([key, value]) => (value === '' ? `${key} has its default again` : `${key}=${value}`));
  await changeCache(deps, name, { reason: 'param', sentence: `${words.join(', ')} for ${name}` }, (spec) => {
    const wanted = validateParameters(set, spec);
    const merged = Object.fromEntries(Object.entries({ ...spec.parameters, ...wanted }).filter(([key]) => !gone.includes(key)));
    const parameters = validateParameters(merged, spec);
    restarts = needRestart(spec.parameters, parameters);
    if (restarts.length > 0) refuseForgetting(spec, `the restart that ${restarts.join(', ')} needs`, 'first');
    return { ...spec, parameters, restartSerial: spec.restartSerial + (restarts.length > 0 ? 1 : 0) };
  });
  const how = restarts.length === 0 ? 'in force at once' : `members are restarted one after another for ${restarts.join(', ')}`;
  return { restarts, sentence: `${words.join(', ')}: ${how}` };
}
