import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere } from '#core/files.ts';
import { validate } from '#core/validate.ts';

/** Where the API is and who one is to it; written by `./xcaas up` for the user who ran it, mode 0600. */
export const Profile = z.object({ url: z.string(), token: z.string() });
export type Profile = z.infer<typeof Profile>;

const DEFAULT_URL = 'http://127.0.0.1:7400';

export function profilePath(env: NodeJS.ProcessEnv): string {
  return env.XCAAS_PROFILE ?? join(env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'xcaas', 'profile.json');
}

/** `XCAAS_URL` and `XCAAS_TOKEN` win over the profile. */
export async function loadProfile(env: NodeJS.ProcessEnv): Promise<{ url: string; token: string | undefined }> {
  const path = profilePath(env);
  const text = await readIfThere(path);
  const saved = text === undefined ? undefined : validate(Profile, parseJson(text), `the profile ${path}`);
  return { url: env.XCAAS_URL ?? saved?.url ?? DEFAULT_URL, token: env.XCAAS_TOKEN ?? saved?.token };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
