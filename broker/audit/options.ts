import type { Clock } from './clock.ts';
import type { CheckpointSigner } from './publisher.ts';
import type { RefusalLimits } from './refusals.ts';
import type { Storage } from './storage.ts';
import type { TreeHead } from './tlog/checkpoint.ts';

export type SignedTree = Pick<TreeHead, 'treeSize' | 'rootHash'>;

export interface AuditLogOptions {
  readonly storage: Storage;
  /** First line of checkpoints and name of the log's key; has no space and no plus sign. */
  readonly origin: string;
  /** File of the index; `:memory:` rebuilds it at each start. It also locks the log. */
  readonly indexPath: string;
  /** May come later: see `setSigner`. */
  readonly signer?: CheckpointSigner | undefined;
  /**
   * Every key that may have signed the checkpoint that is found, earlier ones of the log too; the signer's when left
   * out. A checkpoint that none of them signed is not this log's: without any, none is believed.
   */
  readonly verifierKeys?: readonly string[] | undefined;
  /** A tree that is known to have been signed, from elsewhere than the log: the log must go on from it. */
  readonly signedTree?: SignedTree | undefined;
  /** A checkpoint of this tree is durable. */
  readonly onSigned?: ((tree: SignedTree) => void) | undefined;
  readonly clock?: Clock | undefined;
  /** What an operator should know; the log itself goes on. */
  readonly onWarning?: ((message: string, error: unknown) => void) | undefined;
  readonly limits?: Partial<AuditLimits> | undefined;
}

export interface AuditLimits extends RefusalLimits {
  /** New entries are published and signed this often, in milliseconds. */
  readonly publishIntervalMs: number;
  /** Those who want a fresh checkpoint within so many milliseconds share one signature. */
  readonly freshDelayMs: number;
  /** So long without progress on disk, and those who wait are sent away. */
  readonly giveUpMs: number;
  /** Entries in memory that are not on disk yet, in bytes. */
  readonly maxPendingBytes: number;
  /** Durable entries in memory that are not published yet, in bytes: beyond, new ones wait. */
  readonly maxUnpublishedBytes: number;
  readonly segmentBytes: number;
  /** Bytes of disk kept for allowed operations: below, new kinds of refusals are not logged and not answered. */
  readonly reservedBytes: number;
}

export const DEFAULT_LIMITS: AuditLimits = {
  windowMs: 60_000,
  kindsPerSubject: 64,
  maxSubjects: 100_000,
  quotaBytesPerHour: 1024 * 1024,
  publishIntervalMs: 1000,
  freshDelayMs: 50,
  giveUpMs: 5000,
  maxPendingBytes: 64 * 1024 * 1024,
  maxUnpublishedBytes: 32 * 1024 * 1024,
  segmentBytes: 16 * 1024 * 1024,
  reservedBytes: 64 * 1024 * 1024,
};

export interface AuditStatus {
  readonly origin: string;
  /** Durable entries. */
  readonly size: number;
  /** Entries in published tiles. */
  readonly treeSize: number;
  /** Entries that the newest checkpoint covers. */
  readonly checkpointSize: number;
  /** Why entries cannot be written. */
  readonly failure: string | undefined;
  /** Why the last attempt to publish or to sign failed. */
  readonly publishFailure: string | undefined;
  readonly hasSigner: boolean;
  /** Always false: no witness cosigns yet, so the log proves nothing against the holder of its key. */
  readonly isWitnessed: false;
  readonly unpublishedBytes: number;
  readonly isSpaceLow: boolean;
  readonly refusalsCounted: number;
}
