import { timingSafeEqual } from 'node:crypto';

/** In constant time for equal lengths: how much of a MAC or a plaintext was right must not show. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
