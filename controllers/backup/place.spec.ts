import { describe, expect, it } from 'vitest';
import { expectAccount } from './place.ts';

describe('the account of a store', () => {
  const spec = { backup: { credentials: 3 } };

  it('is waited for by a member that has older credentials, or none', () => {
    for (const secrets of [undefined, {}, { serial: 2 }])
      expect(() => expectAccount(spec, secrets)).toThrow(expect.objectContaining({ code: 'unavailable' }));
  });

  it('is there with those credentials and later ones, and where no store was ever named', () => {
    for (const serial of [3, 4]) expect(() => expectAccount(spec, { serial })).not.toThrow();
    expect(() => expectAccount({ backup: {} }, undefined)).not.toThrow();
  });
});
