/**
 * Who is told what of approvals: people by notices, durably and once at least; those who wait inside the broker by being
 * woken to look again. Owns who waits; which notices are still to be told is in the rows.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ApprovalRow, ApprovalStore } from '../state/approval-rows.ts';
import { type ApprovalView, type Notice, type NoticeKind, noticeOf } from './approval-view.ts';

export interface TellingOptions {
  readonly store: ApprovalStore;
  /** Resolves once it is somebody else's to deliver; what it rejects for is told again. */
  readonly notify?: ((notice: Notice) => Promise<void>) | undefined;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
}

/** Notices read at once. */
const PAGE = 100;

export class Telling {
  readonly #o: TellingOptions;
  readonly #view: (row: ApprovalRow) => ApprovalView;
  readonly #watchers = new Set<() => void>();
  #isTelling = false;

  constructor(options: TellingOptions, view: (row: ApprovalRow) => ApprovalView) {
    this.#o = options;
    this.#view = view;
  }

  /** Inside a transaction: whoever is to know will be told, also when the broker is killed now. */
  tell(approval: string, kind: NoticeKind, at: number): void {
    if (this.#o.notify !== undefined) this.#o.store.notice({ approval, kind, at });
  }

  /** Once what has changed is durable: wakes who waits for it, and delivers. */
  changed(): void {
    for (const wake of [...this.#watchers]) wake();
    void this.deliver();
  }

  /** Hands out what nobody has been told yet. Never rejects: what fails is tried again by the next call. */
  async deliver(): Promise<void> {
    const { notify, store } = this.#o;
    if (notify === undefined || this.#isTelling) return;
    this.#isTelling = true;
    try {
      // Until there are none: what comes meanwhile does not wait for the next second.
      for (let rows = store.notices(PAGE); rows.length > 0; rows = store.notices(PAGE)) {
        for (const row of rows) {
          const approval = store.find(row.approval);
          if (approval !== undefined) await notify(noticeOf(row, this.#view(approval)));
          store.noticed(row);
        }
        await nextTurn();
      }
    } catch (error) {
      this.#o.log('warn', 'approvers could not be told, and will be told again', { error: String(error) });
    } finally {
      this.#isTelling = false;
    }
  }

  /** Resolves when something has changed, or when the signal fires. */
  nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#watchers.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      if (signal.aborted) {
        resolve();
        return;
      }
      this.#watchers.add(done);
      signal.addEventListener('abort', done);
    });
  }
}
