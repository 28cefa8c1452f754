import { hash as digestNow } from 'node:crypto';
import { AdapterError } from '../../hsm-adapters/adapter.ts';
import type { DigestedContent } from '../audit/entry.ts';
import type { Call, Caller } from './call.ts';
import { messageProblem } from './request-form.ts';
import { sameBytes } from './same-bytes.ts';
import type { Done, KeyPermitted, Performed, Transaction, Use } from './transaction.ts';

export interface MacRequest {
  readonly key: string;
  /** 0: the newest active one. */
  readonly version: number;
  readonly algorithm: string;
  readonly message: Uint8Array;
}

export interface VerifyMacRequest extends MacRequest {
  readonly mac: Uint8Array;
}

/**
 * MACs, as operations of the one transaction. Nobody but a token that has the key can verify one: what is released was
 * computed twice, and a token whose two differ leaves service. Owns nothing.
 */
export class MessageAuthentication {
  readonly #steps: Transaction;

  constructor(steps: Transaction) {
    this.#steps = steps;
  }

  mac(caller: Caller, call: Call, request: MacRequest): Promise<Done & { readonly mac: Uint8Array }> {
    return this.#steps.recorded(async () => {
      const use = this.#steps.use(caller, call, {
        operation: 'mac',
        asked: request,
        content: 'message',
        bytes: request.message.length,
      });
      const { performed, permitted, input } = await this.#computeMac(use, request, true);
      const { value } = performed.value;
      const leafIndex = await this.#steps.conclude(performed, input, { kind: 'mac', bytes: value.length });
      return { mac: value, version: permitted.version.version, leafIndex };
    });
  }

  verifyMac(
    caller: Caller,
    call: Call,
    request: VerifyMacRequest,
  ): Promise<Done & { readonly valid: boolean }> {
    return this.#steps.recorded(async () => {
      const use = this.#steps.use(caller, call, {
        operation: 'verify-mac',
        asked: request,
        content: 'message',
        bytes: request.message.length,
      });
      const { performed, permitted, input } = await this.#computeMac(use, request, false);
      const { value } = performed.value;
      // A shorter MAC is another claim: whole and in constant time, or not valid.
      const valid = sameBytes(value, request.mac);
      const leafIndex = await this.#steps.conclude(performed, input, undefined);
      return { valid, version: permitted.version.version, leafIndex };
    });
  }

  async #computeMac(
    use: Use,
    request: { version: number; message: Uint8Array },
    isReleased: boolean,
  ): Promise<{
    performed: Performed<{ readonly value: Uint8Array }>;
    permitted: KeyPermitted;
    input: DigestedContent;
  }> {
    const { message } = request;
    this.#steps.wellFormed(use, () => messageProblem(message, 'Compute the MAC of a digest of it'));
    const permitted = this.#steps.permit(use, request.version, 'mac');
    const input: DigestedContent = { kind: 'message', bytes: message.length };
    const performed = await this.#steps.perform(
      permitted,
      input,
      async (token, object, context, reserve) => {
        reserve(() => digestNow('sha256', message, 'buffer'));
        const compute = (): Promise<Uint8Array> =>
          token.sign({ object, algorithm: permitted.jose, data: message }, context);
        // Nobody but the token can verify it: made twice, what differs is wrong. A wrong one that is compared with
        // somebody's fails by itself.
        if (!isReleased) return { value: await compute(), isSame: true };
        const [value, again] = await both(compute);
        return { value, isSame: sameBytes(value, again) };
      },
      async ({ isSame }, token) => {
        if (!isSame)
          this.#steps.quarantine(token, `two MACs of ${permitted.version.id} over one message differ`);
        return isSame;
      },
    );
    return { performed, permitted, input };
  }
}

/** Twice, until both are over: when one of them ran, the key was used, whatever became of the other. */
async function both(compute: () => Promise<Uint8Array>): Promise<[Uint8Array, Uint8Array]> {
  const [first, second] = await Promise.allSettled([compute(), compute()]);
  if (first.status === 'fulfilled' && second.status === 'fulfilled') return [first.value, second.value];
  const reasons = [first, second].flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
  );
  const [error] = reasons;
  const ranNowhere =
    reasons.length === 2 &&
    reasons.every((reason) => reason instanceof AdapterError && reason.performed === 'no');
  if (ranNowhere || !(error instanceof AdapterError)) throw error;
  throw new AdapterError(error.reason, error.message, {
    performed: 'unknown',
    ckr: error.ckr,
    cause: error,
  });
}
