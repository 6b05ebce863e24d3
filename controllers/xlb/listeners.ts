import { AppError } from '#core/errors.ts';
import { validate } from '#core/validate.ts';
import { Listener, Publish } from '#xlb/schema.ts';

/** `http:80` */
export function listenerKey(listener: Pick<Listener, 'proto' | 'port'>): string {
  return `${listener.proto}:${listener.port}`;
}

/**
 * Reads what a user writes for a listener, `PROTO:PORT`.
 *
 * @throws AppError `usage`, or `not_implemented` for udp
 */
export function parseListener(text: string): Listener {
  const match = /^([a-z]+):(\d{1,5})$/.exec(text);
  if (match === null) {
    throw new AppError('usage', `"${text}" is not a listener`, { hint: 'write PROTO:PORT, e.g. http:80, https:443 or tcp:3306' });
  }
  const [, proto, port] = match;
  if (proto === 'udp') throw new AppError('not_implemented', 'udp listeners are not built yet', { hint: 'http, https and tcp are' });
  return validate(Listener, { proto, port: Number(port) }, `the listener "${text}"`);
}

/** Reads `HOSTPORT:PORT`. */
export function parsePublish(text: string): Publish {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text);
  if (match === null) throw new AppError('usage', `"${text}" is not a published port`, { hint: 'write HOSTPORT:PORT, e.g. 8080:80' });
  return validate(Publish, { hostPort: Number(match[1]), port: Number(match[2]) }, `the published port "${text}"`);
}

export function isHttp(listener: Listener): boolean {
  return listener.proto !== 'tcp';
}
