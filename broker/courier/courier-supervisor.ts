import { chownSync, mkdirSync } from 'node:fs';
import {
  type ChildExit,
  type ChildUser,
  type RestartPolicy,
  SupervisedChild,
} from '../../hsm-adapters/frames/child-process.ts';
import type { FrameChannel } from '../../hsm-adapters/frames/frame-channel.ts';
import { courierFlags, entryUrl } from '../../hsm-adapters/frames/isolation.ts';
import { type CourierConfiguration, CourierFrame, type Outcome } from './courier-frames.ts';
import { bodyOf, isUrgent, type Notice, readNotice } from './notice.ts';

export interface CourierOptions {
  readonly configuration: CourierConfiguration;
  /** Directory of the queue; made, and given to the courier's user. */
  readonly queueDirectory: string;
  /** What it becomes; undefined: user ids are shared. */
  readonly user: ChildUser | undefined;
  /** The directory that holds `broker/` and `hsm-adapters/`. */
  readonly root: string;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
  readonly onOutcome?: ((outcome: Outcome) => void) | undefined;
  readonly restartPolicy?: RestartPolicy | undefined;
}

export interface CourierStatus {
  readonly pid: number | undefined;
  readonly uid: number;
  readonly isReady: boolean;
  readonly restarts: number;
  /** Deliveries on disk, as last told. */
  readonly queued: number;
  /** Notices that the courier has not put on disk yet. */
  readonly untaken: number;
  /** Notices that could not be queued, and deliveries given up, since the broker started. */
  readonly lost: number;
}

/** A notice that is not told yet, and can be told again. */
export class CourierError extends Error {
  override readonly name = 'CourierError';
}

interface Untaken {
  readonly notice: Notice;
  readonly resolve: () => void;
  readonly reject: (error: CourierError) => void;
}

export interface Courier {
  /**
   * Resolves once the courier has the notice on disk for everybody who wants it, however long that takes. What has no
   * room in the queue, or is no notice, is given up, and in the operator's log: it resolves as well, so that whoever tells
   * one after the other gets on to the urgent ones.
   *
   * @throws CourierError when it could not be written, too many wait already, or the courier is stopped: tell it again
   */
  tell(notice: Notice): Promise<void>;
  /** Starts the process anew, which reads the secrets of its destinations again. */
  renew(): void;
  status(): CourierStatus;
  stop(): Promise<void>;
}

/** Untaken notices that are kept in memory while the courier is away. */
const MAX_UNTAKEN = 4_096;
const RESERVED_FOR_URGENT = 256;
const MAX_PENDING_BYTES = 64 << 20;

/**
 * The broker's side of the courier. A notice is kept until the courier has it on disk, and told again to the next
 * process when one dies: at least once, never exactly once.
 *
 * The courier is not believed: what it sends can end it, and changes nothing here but numbers for the operator.
 */
export function startCourier(options: CourierOptions): Courier {
  return new SupervisedCourier(options);
}

class SupervisedCourier implements Courier {
  readonly #options: CourierOptions;
  readonly #child: SupervisedChild;
  readonly #untaken = new Map<number, Untaken>();
  #lastId = 0;
  #queued = 0;
  #lost = 0;
  #isReady = false;
  #isStopping = false;

  constructor(options: CourierOptions) {
    this.#options = options;
    const { root, user, queueDirectory, configuration, restartPolicy } = options;
    mkdirSync(queueDirectory, { recursive: true, mode: 0o700 });
    if (user !== undefined) chownSync(queueDirectory, user.uid, user.gid);
    this.#child = new SupervisedChild(
      {
        role: 'courier',
        name: 'courier',
        entry: entryUrl('broker/courier/courier', root),
        flags: courierFlags(root, {
          queueDirectory,
          files: configuration.destinations.flatMap((destination) =>
            destination.kind === 'webhook'
              ? [destination.secretFile, ...(destination.caFile === undefined ? [] : [destination.caFile])]
              : [],
          ),
          hasHooks: configuration.destinations.some(({ kind }) => kind === 'hook'),
        }),
        env: { MALLOC_ARENA_MAX: '1' },
        cwd: queueDirectory,
        user,
      },
      {
        started: (channel) => this.#started(channel),
        frame: (type, id, payload) => this.#frame(type, id, payload),
        exited: (exit) => this.#exited(exit),
        log: (line) => options.log('warn', line, { process: 'courier' }),
      },
      restartPolicy === undefined ? {} : { restartPolicy },
    );
    this.#child.start();
  }

  async tell(notice: Notice): Promise<void> {
    const room = isUrgent(notice) ? MAX_UNTAKEN : MAX_UNTAKEN - RESERVED_FOR_URGENT;
    if (this.#isStopping || this.#untaken.size >= room)
      throw new CourierError('the courier takes nothing now');
    try {
      readNotice(bodyOf(notice));
    } catch (error) {
      // The courier would die of it, and of each repetition.
      this.#lose('a notice cannot be told', notice.id, {
        why: error instanceof Error ? error.message : String(error),
      });
      return;
    }
    await new Promise<void>((resolve, reject) => {
      this.#lastId = (this.#lastId + 1) >>> 0;
      this.#untaken.set(this.#lastId, { notice, resolve, reject });
      if (this.#isReady) this.#send(this.#lastId, notice);
    });
  }

  renew(): void {
    this.#child.kill(new Error('to read its secrets again'));
  }

  status(): CourierStatus {
    return {
      pid: this.#child.pid,
      uid: this.#child.uid,
      isReady: this.#isReady,
      restarts: this.#child.restarts,
      queued: this.#queued,
      untaken: this.#untaken.size,
      lost: this.#lost,
    };
  }

  stop(): Promise<void> {
    this.#isStopping = true;
    for (const { reject } of this.#untaken.values()) reject(new CourierError('the courier is stopped'));
    this.#untaken.clear();
    return this.#child.stop();
  }

  #started(channel: FrameChannel): void {
    const { configuration } = this.#options;
    channel.send(CourierFrame.Configure, 0, Buffer.from(JSON.stringify(configuration)));
  }

  #frame(type: number, id: number, payload: Buffer): void {
    switch (type) {
      case CourierFrame.Ready: {
        const { queued } = JSON.parse(payload.toString('utf8')) as { queued: number };
        if (!Number.isSafeInteger(queued)) throw new Error('does not say what is queued');
        this.#isReady = true;
        this.#queued = queued;
        this.#options.log('info', 'courier ready', { queued });
        for (const [number, { notice }] of this.#untaken) this.#send(number, notice);
        return;
      }
      case CourierFrame.Failed:
        this.#options.log('error', 'the courier cannot work', { why: printable(payload) });
        return;
      case CourierFrame.Taken:
        this.#settle(id)?.resolve();
        return;
      case CourierFrame.Full: {
        const untaken = this.#settle(id);
        if (untaken === undefined) return;
        const destinations = printable(payload);
        this.#lose('a notice has no room in the queue', untaken.notice.id, { destinations });
        untaken.resolve();
        return;
      }
      case CourierFrame.NotWritten:
        this.#settle(id)?.reject(new CourierError(`the notice cannot be written: ${printable(payload)}`));
        return;
      case CourierFrame.Outcome:
        this.#queued = id;
        this.#outcome(readOutcome(payload));
        return;
      default:
        throw new Error(`unexpected frame of type ${type}`);
    }
  }

  #settle(id: number): Untaken | undefined {
    const untaken = this.#untaken.get(id);
    this.#untaken.delete(id);
    return untaken;
  }

  #outcome(outcome: Outcome): void {
    const { destination, notice, what, attempts, why = '' } = outcome;
    const fields = { destination, notice, attempts, why };
    if (what === 'given-up') this.#lose('a notice is given up', notice, fields);
    else if (what === 'unreadable') this.#options.log('warn', 'a file of the queue holds no notice', fields);
    // Each time would flood the log while a destination is down for a day.
    else if (what === 'failed' && (attempts & (attempts - 1)) === 0)
      this.#options.log('warn', 'a notice is not delivered yet', fields);
    this.#options.onOutcome?.(outcome);
  }

  #send(id: number, notice: Notice): void {
    const channel = this.#child.channel;
    if (channel === undefined) return;
    if (channel.pendingBytes > MAX_PENDING_BYTES)
      this.#child.kill(new Error('does not take what it is told'));
    else channel.send(CourierFrame.Tell, id, Buffer.from(bodyOf(notice)));
  }

  #lose(message: string, notice: string, fields: Record<string, string | number> = {}): void {
    this.#lost += 1;
    this.#options.log('error', message, { ...fields, notice });
  }

  #exited({ code, signal, error }: ChildExit): void {
    this.#isReady = false;
    if (this.#isStopping) return;
    this.#options.log('error', 'courier ended', {
      how: error?.message ?? (signal === null ? `exit code ${code}` : signal),
    });
  }
}

function readOutcome(payload: Buffer): Outcome {
  const { destination, notice, what, attempts, why } = JSON.parse(payload.toString('utf8')) as Outcome;
  const isKnown = what === 'delivered' || what === 'failed' || what === 'given-up' || what === 'unreadable';
  if (!isKnown || !Number.isSafeInteger(attempts)) throw new Error('told of an outcome that there is not');
  return {
    destination: printable(destination),
    notice: printable(notice),
    what,
    attempts,
    why: why === undefined ? undefined : printable(why),
  };
}

/** Bounded, and nothing that a terminal or a log viewer would act upon. */
function printable(text: string | Buffer): string {
  return String(text).slice(0, 500).replace(/\p{C}/gu, '?');
}
