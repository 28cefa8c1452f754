import { describe, expect, it } from 'vitest';
import { ALGORITHMS } from '../adapter.ts';
import { ckr } from '../pkcs11/ckr.ts';
import { findProfile, PROFILES, productionObjection } from './profiles.ts';

describe.each([...PROFILES.values()])('profile $name', (profile) => {
  it('says everything that an operator has to know', () => {
    for (const text of [
      profile.module,
      profile.login.pin,
      profile.login.lockout,
      profile.transport.says,
      profile.sessions.says,
    ])
      expect(text.length).toBeGreaterThan(3);
    expect(findProfile(profile.name)).toBe(profile);
  });

  it('names codes and algorithms that exist', () => {
    const codes = [
      ...Object.keys(profile.refinements),
      ...Object.values(profile.ambiguousRejections).flat(),
    ].filter((code) => !code.startsWith('0x'));
    for (const code of codes) expect(() => ckr(code)).not.toThrow();
    expect(profile.lacks.filter((name) => !ALGORITHMS.includes(name))).toEqual([]);
    expect(new Set(profile.lacks).size).toBe(profile.lacks.length);
  });

  it('wraps nothing that it cannot make, and nothing without a mechanism', () => {
    const { wraps, aesKwp } = profile.keyWrap;
    expect(wraps.filter((type) => !profile.makes.includes(type))).toEqual([]);
    if (aesKwp === undefined) expect(wraps).toEqual([]);
  });
});

describe('what is refused in production', () => {
  it.each([
    ['nss', /not extractable/],
    ['p11-kit', /in the clear/],
  ])('%s, and why', (name, why) => {
    expect(productionObjection(name)).toMatch(why);
  });

  it.each(['softhsm2', 'cloudhsm', 'luna', 'nshield', 'opencryptoki', 'tpm2', 'generic'])(
    'but not %s',
    (name) => {
      expect(productionObjection(name)).toBeUndefined();
    },
  );

  it('vendors whose hardware nobody here has are marked so', () => {
    const untested = [...PROFILES.values()].filter(({ tested }) => tested === 'untested on hardware');
    expect(untested.map(({ name }) => name)).toEqual(['cloudhsm', 'luna', 'nshield']);
  });
});
