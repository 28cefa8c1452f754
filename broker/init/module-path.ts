import { existsSync } from 'node:fs';
import { InitError } from './init-error.ts';

/** Where distributions put SoftHSM2's PKCS#11 library. deploy/bootstrap.sh looks in the same places; a test compares. */
export const SOFTHSM2_PLACES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
] as const;

/** The first of `places` that exists. */
export function findSoftHsm2(places: readonly string[] = SOFTHSM2_PLACES): string {
  const found = places.find((place) => existsSync(place));
  if (found === undefined) {
    throw new InitError(
      'MODULE_NOT_FOUND',
      `SoftHSM2's library is in none of ${places.join(', ')}: install it (Debian, Ubuntu: apt-get install softhsm2)`,
    );
  }
  return found;
}
