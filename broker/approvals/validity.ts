/**
 * Whether an approval is still one: what the clock and the policy in force say of it, whoever has voted. Fails closed; a
 * clock in doubt shortens, and never lengthens. Owns nothing but what it remembers of each policy.
 */
import type { ApprovalPolicy } from '../../policy/quorum.ts';
import { Failure } from '../keyuse/failure.ts';
import type { ApprovalRow } from '../state/approval-rows.ts';
import type { Act } from './act.ts';
import { authorityDigest } from './asked-act.ts';

export interface ValidityOptions {
  readonly policy: () => ApprovalPolicy & { readonly maxClockDoubtMs: number };
  /** Milliseconds of the Unix epoch, and how far that may be wrong. */
  readonly clock: { now(): number; doubtMs(): number };
}

/** Meanings of rules that are remembered of one policy. */
const MAX_REMEMBERED = 10_000;

export class Validity {
  readonly #o: ValidityOptions;
  readonly #authorities = new WeakMap<object, Map<string, string>>();

  constructor(options: ValidityOptions) {
    this.#o = options;
  }

  /** @throws Failure BUSY while nobody knows the time well enough */
  now(): number {
    const { clock } = this.#o;
    if (clock.doubtMs() > this.#o.policy().maxClockDoubtMs)
      throw new Failure('BUSY', 'the clock is in doubt, so that nobody can say what has expired');
    return clock.now();
  }

  /** Perhaps expired, or certainly not yet begun. */
  isOver({ act }: { readonly act: Pick<Act, 'notBefore' | 'notAfter'> }): boolean {
    const now = this.#o.clock.now();
    const doubt = this.#o.clock.doubtMs();
    return now + doubt >= Date.parse(act.notAfter) || now + doubt < Date.parse(act.notBefore);
  }

  /** Over by any clock that this one can be: then it is closed, and not only refused. */
  isCertainlyOver({ row }: { readonly row: Pick<ApprovalRow, 'notAfter'> }): boolean {
    return this.#o.clock.now() - this.#o.clock.doubtMs() >= row.notAfter;
  }

  /** What gives its rule a meaning is no longer what it was when it was asked for. */
  isVoid({ act, row }: { readonly act: Act; readonly row: Pick<ApprovalRow, 'catalogEntry'> }): boolean {
    try {
      return this.authority(act.rule, act.requester, act.key, row.catalogEntry) !== act.authority;
    } catch (error) {
      if (error instanceof Failure) return true;
      throw error;
    }
  }

  /** @throws Failure POLICY_DENIED when the policy in force knows no such rule */
  authority(rule: string, requester: string, key: string, catalogEntry: string): string {
    const policy = this.#o.policy();
    let known = this.#authorities.get(policy);
    if (known === undefined || known.size > MAX_REMEMBERED) {
      known = new Map();
      this.#authorities.set(policy, known);
    }
    const name = JSON.stringify([rule, requester, key, catalogEntry]);
    let authority = known.get(name);
    if (authority === undefined) {
      const meaning = policy.authorityOf(rule, requester, key);
      if (meaning === '') throw new Failure('POLICY_DENIED', 'the policy does not allow this');
      authority = authorityDigest(meaning, catalogEntry);
      known.set(name, authority);
    }
    return authority;
  }
}
