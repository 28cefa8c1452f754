import type { NoticeType } from './notice.ts';

/**
 * What the courier and the broker say to each other.
 *
 * | frame     | direction | id     | payload |
 * | --- | --- | --- | --- |
 * | Configure | broker →  | 0      | JSON `CourierConfiguration` |
 * | Ready     | ← courier | 0      | JSON `{ queued }`: the queue of an earlier run is taken up |
 * | Failed    | ← courier | 0      | UTF-8: why it cannot work; it exits |
 * | Tell      | broker →  | notice | JSON `Notice` |
 * | Taken     | ← courier | notice | –: on disk for every destination that wants it |
 * | Full      | ← courier | notice | UTF-8: the destinations that it has no room for; on disk for the others |
 * | NotWritten| ← courier | notice | UTF-8: the system's error; it may be on disk for some |
 * | Outcome   | ← courier | queued | JSON `Outcome`; the id is how many deliveries are still to be made |
 */
export const CourierFrame = {
  Configure: 1,
  Ready: 2,
  Failed: 3,
  Tell: 4,
  Taken: 5,
  Full: 6,
  NotWritten: 7,
  Outcome: 8,
} as const;

export interface WebhookDestination {
  readonly kind: 'webhook';
  readonly name: string;
  readonly events: readonly NoticeType[];
  /** https, or http to a loopback address. */
  readonly url: string;
  /** File with one secret a line: every delivery is signed with each, so that a secret can be replaced. */
  readonly secretFile: string;
  /** PEM file with the roots that this destination is trusted by; undefined: those of Node. */
  readonly caFile?: string | undefined;
  readonly timeoutMs: number;
}

export interface HookDestination {
  readonly kind: 'hook';
  readonly name: string;
  readonly events: readonly NoticeType[];
  /** A program by its absolute path, and its arguments. No shell; the notice comes on standard input. */
  readonly command: readonly string[];
  readonly timeoutMs: number;
}

export type Destination = WebhookDestination | HookDestination;

export interface CourierConfiguration {
  readonly destinations: readonly Destination[];
  /** A delivery that never succeeds is given up after so long. */
  readonly giveUpAfterMs: number;
  /** First pause after a failure; doubled each time up to the longest. */
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** Deliveries that may wait on disk, over all destinations. */
  readonly maxQueued: number;
}

export const DEFAULT_RETRIES = {
  firstRetryMs: 1_000,
  longestRetryMs: 300_000,
  maxQueued: 4_096,
} as const;

export interface Outcome {
  readonly destination: string;
  readonly notice: string;
  readonly what: 'delivered' | 'failed' | 'given-up' | 'unreadable';
  readonly attempts: number;
  /** Bounded, without what the other side said. */
  readonly why?: string | undefined;
}
