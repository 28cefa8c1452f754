import { cloudhsm } from './cloudhsm.ts';
import { generic } from './generic.ts';
import { luna } from './luna.ts';
import { nshield } from './nshield.ts';
import { nss } from './nss.ts';
import { opencryptoki } from './opencryptoki.ts';
import { p11Kit } from './p11-kit.ts';
import type { Profile } from './profile.ts';
import { softhsm2 } from './softhsm2.ts';
import { tpm2 } from './tpm2.ts';

export const PROFILES: ReadonlyMap<string, Profile> = new Map(
  [softhsm2, cloudhsm, luna, nshield, opencryptoki, tpm2, nss, p11Kit, generic].map((profile) => [
    profile.name,
    profile,
  ]),
);

export const PROFILE_NAMES: readonly string[] = [...PROFILES.keys()];

/** Undefined for a name that nobody wrote: the caller says which there are. */
export function findProfile(name: string): Profile | undefined {
  return PROFILES.get(name);
}

/** Why no token with this profile may be configured in production; undefined when one may. */
export function productionObjection(name: string): string | undefined {
  const profile = PROFILES.get(name);
  if (profile?.unfit !== undefined) return profile.unfit;
  return profile?.transport.kind === 'unprotected' ? profile.transport.says : undefined;
}
