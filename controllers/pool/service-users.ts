import { AppError } from '#core/errors.ts';
import { newPassword } from '#pool/service-credentials.ts';

/** Pure but for chance: passwords of a service's users, two of one while it is being changed. */

type Users = Record<string, string[]>;

/** The user with the passwords that `change` makes of those it has. */
export function withUser<C extends { users: Users }>(all: C, user: string, change: (passwords: string[] | undefined) => string[]): C {
  return { ...all, users: { ...all.users, [user]: change(Object.hasOwn(all.users, user) ? all.users[user] : undefined) } };
}

/**
 * A new password, beside which the old one stays good.
 *
 * @param finish the command that ends the old one
 * @throws AppError `conflict` while the change before is not finished: a third password would shut out who still has the first
 */
export function withNewPassword<C extends { users: Users }>(all: C, user: string, finish: string): C {
  return withUser(all, user, (passwords = []) => {
    if (passwords.length > 1)
      throw new AppError('conflict', `the password of ${user} is being changed, and its old one is good still`, {
        hint: `once no client has it any more: ${finish}`,
      });
    return [newPassword(), ...passwords];
  });
}

/** Only the newest password is good. */
export function withoutOldPassword<C extends { users: Users }>(all: C, user: string): C {
  return withUser(all, user, (passwords = []) => passwords.slice(0, 1));
}
