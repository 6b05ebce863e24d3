import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { hostPattern } from '#xlb/schema.ts';

const Pair = z.object({ hosts: z.array(hostPattern).min(1), cert: z.string().max(1_000_000), key: z.string().max(100_000) });
const CertsFile = z.object({ version: z.number().int().positive(), certs: z.array(z.unknown()) });

export interface CheckedCerts {
  version: number;
  /** What nginx is to hold: the pairs that work, as JSON of `certs.json`'s form. */
  text: string;
  /** The same with another version. */
  withVersion(version: number): string;
  hash: string;
  hosts: string[];
  /** What is wrong with pairs that were left out, and what soon will be with others. */
  problems: string[];
}

/** A certificate that ends within this time is said, in milliseconds: two weeks, as authorities renew at a third of 90 days. */
const SOON_MS = 14 * 86_400_000;

/**
 * Pure: the pairs of `certs.json` that work. One that does not is left out and named, the others are served; nginx would refuse all of them.
 *
 * @returns undefined when the file as a whole cannot be understood: what nginx holds stays then
 */
export function checkCerts(text: string, now: Date): CheckedCerts | undefined {
  const file = parse(text);
  if (file === undefined) return undefined;
  const problems: string[] = [];
  const good: z.infer<typeof Pair>[] = [];
  file.certs.forEach((raw, index) => {
    const pair = Pair.safeParse(raw);
    if (!pair.success) {
      problems.push(`certificate ${index + 1} of the list is not understood`);
      return;
    }
    const { wrong, warning, hosts } = checkPair(pair.data, now);
    if (warning !== undefined) problems.push(warning);
    if (wrong === undefined) good.push({ ...pair.data, hosts });
    else problems.push(wrong);
  });
  const withVersion = (version: number) => JSON.stringify({ version, certs: good });
  // The bytes of the file itself when nothing was left out: nginx read them when it started, and the same again is no change.
  const intact = good.length === file.certs.length && good.every((pair, index) => pair.hosts.length === hostCount(file.certs[index]));
  return {
    version: file.version,
    text: intact ? text : withVersion(file.version),
    withVersion,
    hash: createHash('sha256').update(withVersion(0)).digest('hex').slice(0, 16),
    hosts: good.flatMap((pair) => pair.hosts),
    problems,
  };
}

function checkPair(pair: z.infer<typeof Pair>, now: Date): { wrong?: string; warning?: string; hosts: string[] } {
  const name = pair.hosts[0] ?? '';
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pair.cert);
  } catch {
    return { wrong: `the certificate of ${name} cannot be read`, hosts: [] };
  }
  try {
    if (!certificate.checkPrivateKey(createPrivateKey(pair.key)))
      return { wrong: `the key of ${name} is not its certificate's`, hosts: [] };
  } catch {
    return { wrong: `the key of ${name} cannot be read`, hosts: [] };
  }
  const hosts = pair.hosts.filter((host) => covers(certificate, host));
  if (hosts.length === 0) return { wrong: `the certificate given for ${name} is not for that name`, hosts };
  const missing = pair.hosts.find((host) => !hosts.includes(host));
  // Outside its dates a certificate is still served: clients say so then, which is better than one for another name.
  const ends = new Date(certificate.validTo);
  if (ends <= now) return { warning: `the certificate of ${name} expired on ${ends.toISOString()}`, hosts };
  if (new Date(certificate.validFrom) > now) return { warning: `the certificate of ${name} is not valid yet`, hosts };
  if (ends.getTime() - now.getTime() < SOON_MS) return { warning: `the certificate of ${name} expires on ${ends.toISOString()}`, hosts };
  return missing === undefined ? { hosts } : { warning: `the certificate given for ${missing} is not for that name`, hosts };
}

function covers(certificate: X509Certificate, host: string): boolean {
  // A wildcard is covered by what covers any one name under it.
  return certificate.checkHost(host.startsWith('*.') ? `x${host.slice(1)}` : host) !== undefined;
}

function parse(text: string): z.infer<typeof CertsFile> | undefined {
  try {
    return CertsFile.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function hostCount(raw: unknown): number {
  return Pair.safeParse(raw).data?.hosts.length ?? 0;
}
