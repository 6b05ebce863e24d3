import type { ConsulClient } from '#core/consul/client.ts';
import { consulError } from '#core/consul/transport.ts';
import type { Indexed } from '#xcache/protocol/types.ts';
import { MoveOrder } from '#xcache/schema.ts';
import { cacheKeys } from '#xcache/store.ts';

/** Writes what has become of an order. @returns undefined when it is written, else why not @throws AppError of Consul */
export async function writeOrder(
  consul: Pick<ConsulClient, 'request'>,
  cache: string,
  order: Indexed<MoveOrder>,
  change: { state: MoveOrder['state']; target?: string | undefined; error?: string | undefined },
): Promise<string | undefined> {
  const { state, target, error } = change;
  const next = MoveOrder.parse({
    ...order.value,
    state,
    ...(target === undefined ? {} : { target }),
    ...(error === undefined ? {} : { error }),
  });
  const key = cacheKeys(cache).move;
  const answer = await consul.request('PUT', `/v1/kv/${key}`, { query: { cas: order.index }, raw: JSON.stringify(next), timeoutMs: 1000 });
  if (answer.status !== 200) throw consulError(answer, `writing ${key}`);
  return answer.body === true ? undefined : 'the order has changed';
}
