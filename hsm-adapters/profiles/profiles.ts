import { generic } from './generic.ts';
import type { Profile } from './profile.ts';
import { softhsm2 } from './softhsm2.ts';

const PROFILES: ReadonlyMap<string, Profile> = new Map(
  [softhsm2, generic].map((profile) => [profile.name, profile]),
);

export const PROFILE_NAMES: readonly string[] = [...PROFILES.keys()];

/** Undefined for a name that nobody wrote: the caller says which there are. */
export function findProfile(name: string): Profile | undefined {
  return PROFILES.get(name);
}
