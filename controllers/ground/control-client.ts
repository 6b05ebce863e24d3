import { isIPv6 } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { AppError, toAppError } from '#core/errors.ts';
import { expectOk, requestJson } from '#core/http.ts';
import { PORTS } from '#core/paths.ts';
import { roleOf } from '#ground/ca.ts';

export interface ControlAddress {
  host: string;
  port: number;
}

/** `10.0.0.1`, `10.0.0.1:7402`, `fd00::1` or `[fd00::1]:7402`. */
export function parseAddress(text: string, port: number = PORTS.control): ControlAddress {
  const [, bracketed, plain, given] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host !== undefined) return { host, port: given === undefined ? port : Number(given) };
  if (isIPv6(text)) return { host: text, port };
  throw new AppError('usage', `"${text}" is not an address of a host`);
}

interface Material {
  ca: string;
  cert?: string;
  key?: string;
}

/** TLS to control: the other end must be of the pool and of that role, or any host of the pool could play control to the others. */
export function controlTls(material: Material): Material & { checkServerIdentity: typeof checkServerIdentity } {
  return {
    ...material,
    checkServerIdentity(name: string, certificate: PeerCertificate) {
      const wrong = checkServerIdentity(name, certificate);
      if (wrong !== undefined) return wrong;
      return roleOf(certificate) === 'control' ? undefined : new Error(`the certificate of ${name} is not that of control`);
    },
  };
}

/** Longest wait for control's answer, in milliseconds: it asks Swarm and Consul for it. */
const ANSWER_MS = 30_000;

/**
 * Asks one control.
 *
 * @returns the body of its answer
 * @throws AppError what it says, or `unavailable`
 */
export async function postToControl({ host, port }: ControlAddress, path: string, body: unknown, material: Material): Promise<unknown> {
  const reply = await requestJson({ host, port, tls: controlTls(material), method: 'POST', path, body, timeoutMs: ANSWER_MS });
  return expectOk(reply, `control at ${host}`);
}

/**
 * Asks the first of several controls that answers well.
 *
 * @throws AppError what the last one said; `unavailable` when there is none to ask
 */
export async function postToAny<T>(
  controls: string[],
  path: string,
  { material, port, accept }: { material: Material; port?: number; accept(body: unknown, host: string): Promise<T> | T },
): Promise<T> {
  let last = new AppError('unavailable', `no manager is known that could be asked for ${path}`, {
    hint: 'is a manager of the pool up? xcaas nodes',
  });
  for (const text of controls) {
    try {
      const address = parseAddress(text, port);
      return await accept(await postToControl(address, path, {}, material), address.host);
    } catch (error) {
      last = toAppError(error);
    }
  }
  throw last;
}
