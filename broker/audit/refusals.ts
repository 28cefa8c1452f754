import type { Clock } from './clock.ts';
import { type Appended, AuditError, type EntryDraft } from './entry.ts';

export interface RefusalLimits {
  /** Repeats are counted for so long and then become one entry. */
  readonly windowMs: number;
  /** Kinds counted at a time for one subject; beyond, all its further kinds are one. */
  readonly kindsPerSubject: number;
  /** Subjects that are counted at a time; beyond, refusals wait for a window to close. */
  readonly maxSubjects: number;
  /** Log bytes that the refusals of one subject may take in an hour. */
  readonly quotaBytesPerHour: number;
}

export interface RefusalCounterOptions {
  readonly limits: RefusalLimits;
  readonly clock: Clock;
  /** Appends an entry; `bytes` is what it takes in the log. */
  readonly append: (draft: EntryDraft) => { readonly bytes: number; readonly appended: Promise<Appended> };
  /** True while what is left of the disk is kept for allowed operations. */
  readonly isSpaceLow: () => boolean;
  readonly onWarning: (message: string, error: unknown) => void;
}

const HOUR_MS = 3_600_000;

interface Kind {
  /** The first of it; undefined when even that was only counted. */
  readonly draft: EntryDraft;
  /** Resolves when the first's entry is durable. */
  first: Promise<Appended | undefined>;
  firstLeaf: number | undefined;
  count: number;
  readonly from: number;
  to: number;
}

interface Subject {
  readonly kinds: Map<string, Kind>;
  hourStart: number;
  bytes: number;
}

/**
 * Keeps refusals from flooding the log: the first of a kind has its own entry before it is answered, repeats are counted,
 * and a count becomes one `refusals` entry when its window closes.
 *
 * A crash loses the open counts; the entry that the log writes about itself at the next start says so.
 */
export class RefusalCounter {
  readonly #options: RefusalCounterOptions;
  readonly #subjects = new Map<string, Subject>();
  #callOff: (() => void) | undefined;

  constructor(options: RefusalCounterOptions) {
    this.#options = options;
  }

  /** Refusals counted in open windows. */
  get openCount(): number {
    let sum = 0;
    for (const { kinds } of this.#subjects.values()) for (const kind of kinds.values()) sum += kind.count;
    return sum;
  }

  isOverQuota(name: string): boolean {
    const subject = this.#subjects.get(name);
    if (subject === undefined) return false;
    this.#turnHour(subject);
    return subject.bytes >= this.#options.limits.quotaBytesPerHour;
  }

  async appendRefusal(draft: EntryDraft): Promise<Appended | undefined> {
    const { limits, clock, isSpaceLow } = this.#options;
    const subject = this.#subject(draft.subject);
    const isOver = this.isOverQuota(draft.subject);
    const own = kindOf(draft);
    // Beyond its share of kinds or bytes a subject has one kind left, `*`, whatever else it tries.
    const isShared = !subject.kinds.has(own) && (isOver || subject.kinds.size >= limits.kindsPerSubject);
    const name = isShared ? '*' : own;
    const known = subject.kinds.get(name);
    if (known !== undefined) {
      known.count++;
      known.to = clock.now();
      // A repeat that comes before the first is durable is not answered before it either.
      await known.first;
      return undefined;
    }
    if (isSpaceLow())
      throw new AuditError('AUDIT_UNAVAILABLE', 'what is left of the disk is kept for allowed operations');
    const kind = this.#begin(subject, name, draft, isOver);
    try {
      const appended = await kind.first;
      kind.firstLeaf = appended?.leafIndex;
      return appended;
    } catch (error) {
      // Without its first entry the kind is not begun: the next one tries again.
      subject.kinds.delete(name);
      throw error;
    }
  }

  /** Writes every open count, as at shutdown. */
  async close(): Promise<void> {
    this.#callOff?.();
    await this.#closeWindows(Number.POSITIVE_INFINITY);
  }

  #begin(subject: Subject, name: string, draft: EntryDraft, isOver: boolean): Kind {
    const now = this.#options.clock.now();
    const kind: Kind = {
      draft,
      first: Promise.resolve(undefined),
      firstLeaf: undefined,
      count: 0,
      from: now,
      to: now,
    };
    subject.kinds.set(name, kind);
    this.#schedule();
    if (isOver) {
      kind.count = 1;
      return kind;
    }
    const { bytes, appended } = this.#options.append(draft);
    subject.bytes += bytes;
    kind.first = appended;
    return kind;
  }

  #subject(name: string): Subject {
    const known = this.#subjects.get(name);
    if (known !== undefined) return known;
    const { clock, limits } = this.#options;
    if (this.#subjects.size >= limits.maxSubjects) this.#forgetIdle();
    if (this.#subjects.size >= limits.maxSubjects) {
      throw new AuditError('AUDIT_UNAVAILABLE', 'refusals of too many subjects are being counted');
    }
    const subject: Subject = { kinds: new Map(), hourStart: clock.now(), bytes: 0 };
    this.#subjects.set(name, subject);
    return subject;
  }

  #turnHour(subject: Subject): void {
    const now = this.#options.clock.now();
    if (now - subject.hourStart < HOUR_MS && now >= subject.hourStart) return;
    subject.hourStart = now;
    subject.bytes = 0;
  }

  #forgetIdle(): void {
    for (const [name, subject] of this.#subjects) {
      this.#turnHour(subject);
      if (subject.kinds.size === 0 && subject.bytes === 0) this.#subjects.delete(name);
    }
  }

  #schedule(): void {
    this.#callOff ??= this.#options.clock.after(this.#options.limits.windowMs, () => {
      this.#callOff = undefined;
      const { clock, limits, onWarning } = this.#options;
      this.#closeWindows(clock.now() - limits.windowMs)
        .catch((error: unknown) => onWarning('counts of refusals could not be written; they are kept', error))
        .finally(() => {
          if (this.#hasKinds()) this.#schedule();
        });
    });
  }

  #hasKinds(): boolean {
    for (const { kinds } of this.#subjects.values()) if (kinds.size > 0) return true;
    return false;
  }

  async #closeWindows(begunBefore: number): Promise<void> {
    const writing: Promise<void>[] = [];
    for (const subject of this.#subjects.values()) {
      for (const [name, kind] of subject.kinds) {
        if (kind.from > begunBefore) continue;
        subject.kinds.delete(name);
        if (kind.count > 0) writing.push(this.#writeCount(subject, name, kind));
      }
    }
    this.#forgetIdle();
    const failed = (await Promise.allSettled(writing)).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #writeCount(subject: Subject, name: string, kind: Kind): Promise<void> {
    const { subject: subjectName, operation, key, reason } = kind.draft;
    const isShared = name === '*';
    const { bytes, appended } = this.#options.append({
      kind: 'refusals',
      subject: subjectName,
      operation: isShared ? '*' : operation,
      ...(isShared ? {} : { key, reason }),
      decision: 'deny',
      detail: {
        count: kind.count,
        from: new Date(kind.from).toISOString(),
        to: new Date(kind.to).toISOString(),
        first: kind.firstLeaf,
      },
    });
    subject.bytes += bytes;
    try {
      await appended;
    } catch (error) {
      // The count is not lost: it goes on with whatever was refused meanwhile.
      const again = subject.kinds.get(name);
      if (again === undefined) subject.kinds.set(name, kind);
      else again.count += kind.count;
      throw error;
    }
  }
}

function kindOf({ operation, key, reason }: EntryDraft): string {
  return JSON.stringify([operation, key ?? null, reason ?? null]);
}
