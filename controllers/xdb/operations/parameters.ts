import { AppError } from '#core/errors.ts';
import type { ParameterRow } from '#pool/parameters.ts';
import type { DbDeps } from '#xdb/operations/deps.ts';
import { livingSpec } from '#xdb/operations/living.ts';
import { change } from '#xdb/operations/maintain.ts';
import { describeParameters, needRestart, parameter, validateParameters } from '#xdb/parameters.ts';

/** Every parameter that can be set, with its value. */
export async function listParameters(deps: DbDeps, name: string): Promise<ParameterRow[]> {
  const { value } = await livingSpec(deps, name);
  return describeParameters(value.parameters, value);
}

/**
 * Sets parameters; an empty value gives one back its default. What takes effect with a start only is rolled out: the slave first, then a switchover.
 *
 * @returns names that need the engines to be restarted, which is under way then
 * @throws AppError `invalid` for one that cannot be set, or not to that; nothing is changed then
 */
export async function setParameters(
  deps: DbDeps,
  name: string,
  given: Readonly<Record<string, string>>,
): Promise<{ restarts: string[]; sentence: string }> {
  if (Object.keys(given).length === 0) throw new AppError('usage', 'no parameter is given', { hint: `db param list ${name}` });
  const gone = Object.entries(given)
    .filter(([, value]) => value === '')
    .map(([key]) => parameter(key).name);
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''));
  // Each by itself, and twice the same is a mistake; then all that will be in force together.
  const wanted = validateParameters(set, { memoryBytes: Number.MAX_SAFE_INTEGER });
  let restarts: string[] = [];
  const words = Object.entries(given).map(([key, value]) => (value === '' ? `${key} has its default again` : `${key}=${value}`));
  await change(deps, name, 'param', `${words.join(', ')} for ${name}`, (spec) => {
    const merged = Object.fromEntries(Object.entries({ ...spec.parameters, ...wanted }).filter(([key]) => !gone.includes(key)));
    const parameters = validateParameters(merged, spec);
    restarts = needRestart(spec.parameters, parameters);
    return { ...spec, parameters, restartSerial: spec.restartSerial + (restarts.length > 0 ? 1 : 0) };
  });
  const how = restarts.length === 0 ? 'in force at once' : `engines are restarted one after another for ${restarts.join(', ')}`;
  return { restarts, sentence: `${words.join(', ')}: ${how}` };
}
