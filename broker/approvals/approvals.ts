import type { Allowance } from '../../policy/decision.ts';
import type { EntryValue } from '../audit/entry.ts';
import type { ActContent } from './act.ts';

/** A request that needs people to agree, as whoever decided on it describes it. */
export interface Petition {
  readonly requester: string;
  readonly operation: string;
  readonly key: string;
  readonly version: number;
  readonly algorithm: string;
  readonly content: ActContent;
  /** Bytes for approvers to fetch where the act has only their digest; at most 1 MiB. */
  readonly attachment?: Uint8Array | undefined;
  readonly allowance: Pick<Allowance, 'rule' | 'quorum'>;
  /** The key's catalog entry as canonical JSON; empty where there is no key. */
  readonly catalogEntry: string;
}

/** An approval that was used for one request: taken durably before the token is asked. */
export interface ApprovalUse {
  readonly id: string;
  /** Leaf indices of the votes that counted: the entry of the use cites them. */
  readonly votes: readonly number[];
  readonly isEmergency: boolean;
  /** What the entry of the use says of it: id, number of the use, leaf indices and digests of the signatures. */
  readonly record: EntryValue;
  /** Only when the operation provably did not run. */
  giveBack(): void;
}

/** What policy activation needs: a proposal asks, an activation takes. */
export interface AskedApprovals extends Pick<Approvals, 'take'> {
  /**
   * Finds the request for exactly this, or opens one, and uses nothing of it.
   *
   * @throws Failure BUSY when the state is away; RATE_LIMITED
   */
  ask(petition: Petition): Promise<{ readonly id: string; readonly isApproved: boolean }>;
}

/** What key use and key administration need. */
export interface Approvals {
  /**
   * Takes one use of an approval for exactly this, or opens a request for it. Verifies the approvers' signatures again
   * over the act made from this very petition; durable before it resolves.
   *
   * @throws Failure APPROVAL_REQUIRED with `approval` (its id) in its metadata; BUSY when the state is away
   */
  take(petition: Petition): Promise<ApprovalUse>;
  /** Whether people have agreed to exactly this already. Opens nothing, and says nothing of whether a use is left. */
  isApproved(petition: Petition): boolean;
  /** Resolves when the request is approved; rejects when it is rejected, withdrawn or expired, or when the signal fires. */
  approved(id: string, signal: AbortSignal): Promise<void>;
}
