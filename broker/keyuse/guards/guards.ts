import type { Guard } from '../../../policy/decision.ts';

export type Reservation =
  | {
      readonly ok: true;
      /** Only when the operation provably did not run. */
      release(): void;
      /** The token answered, or may have: the value is used. */
      keep(): void;
    }
  | { readonly ok: false; readonly guard: Guard; readonly message: string };

/**
 * History that a signature must agree with. A value is reserved durably before the token is asked; after
 * `performed: unknown` only the identical bytes (`content`, their SHA-256) may be tried again.
 */
export interface GuardStore {
  reserve(guards: readonly Guard[], key: string, content: Uint8Array): Reservation;
}
