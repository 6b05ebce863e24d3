import { z } from 'zod';
import { AppError } from '#core/errors.ts';
import { sleep } from '#core/sleep.ts';
import { validate } from '#core/validate.ts';
import type { AdminRoute } from '#member/admin.ts';
import type { CredentialsSource } from '#member/credentials.ts';
import type { CacheCredentials } from '#xcache/schema.ts';
import type { SettingsKeeper } from './settings.ts';

export interface SettingsRoutesOptions {
  settings: SettingsKeeper;
  credentials: CredentialsSource<CacheCredentials>;
  /** A turn begins soon. */
  dirty(): void;
}

const Asked = z.object({ serial: z.number().int().min(0) });
const IN_FORCE_MS = 5000;
const LOOK_MS = 50;

/**
 * What this member's engine runs with by now. Users and their passwords are never sent here: they are in the credentials, which the controller hands over before this is asked for.
 */
export function settingsRoutes({ settings, credentials, dirty }: SettingsRoutesOptions): AdminRoute[] {
  const now = () => ({ ...(settings.inForce() ?? { run: null }), complaint: settings.complaint() });
  return [
    { method: 'GET', path: '/settings', handle: () => ({ body: now() }) },
    {
      method: 'GET',
      path: '/users',
      handle() {
        const { users = {}, access = {} } = credentials.current() ?? {};
        const body = Object.entries(users).map(([name, { length }]) => ({
          ...{ name, passwords: length, readOnly: access[name]?.readOnly ?? false, keys: access[name]?.keys ?? [] },
        }));
        return { body };
      },
    },
    {
      method: 'POST',
      path: '/credentials',
      async handle({ body }) {
        const { serial } = validate(Asked, body, 'the request');
        const has = (present: number | undefined) => (present ?? 0) >= serial;
        await credentials.refresh();
        if (!has(credentials.current()?.serial))
          throw new AppError('conflict', 'the credentials of this member are not the newest yet', { hint: 'try again in some seconds' });
        const end = performance.now() + IN_FORCE_MS;
        dirty();
        while (!has(settings.inForce()?.serial)) {
          // An engine that does not run begins with them.
          if (performance.now() > end)
            throw new AppError(
              'unavailable',
              `the engine of this member has not taken them: ${settings.complaint() || 'it does not run'}`,
              {
                hint: 'it takes them when it runs',
              },
            );
          await sleep(LOOK_MS);
        }
        return { body: now() };
      },
    },
  ];
}
