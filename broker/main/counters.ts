import { join } from 'node:path';
import type { Approvals } from '../approvals/approvals.ts';
import type { Entry } from '../audit/entry-format.ts';
import type { Sequencer } from '../audit/sequencer.ts';
import { BrokerClock } from '../keyuse/clock.ts';
import { decodeGuards, decodeSnapshot } from '../keyuse/guards/guard-entries.ts';
import { type LoggedGuards, SqliteGuards } from '../keyuse/guards/sqlite-guards.ts';
import { AttemptLimiter } from '../keyuse/limits/attempts.ts';
import { decodeCharges, type LoggedCharge } from '../keyuse/limits/charges.ts';
import { MemoryLimits } from '../keyuse/limits/memory-limits.ts';
import { type LoggedUsage, UsageIndex } from '../keyuse/limits/usage-index.ts';
import { Spending } from '../keyuse/spending.ts';
import { BudgetRows } from '../state/budget-rows.ts';
import { GuardRows } from '../state/guard-rows.ts';
import type { StateStore } from '../state/state-store.ts';
import type { Log } from '../telemetry/log.ts';

/** What limits, windows and guards need: the time, the counters, the histories. */
export interface Counters {
  readonly clock: BrokerClock;
  readonly spending: Spending;
  /** For the operator, in words. */
  warnings(): string[];
  close(): Promise<void>;
}

const FLUSH_MS = 1000;
const GUARD_SNAPSHOT_ENTRIES = 100_000;

/**
 * Brings counters and histories to where the log is: the log is the truth, what lies beside it may be older or gone.
 *
 * @throws when the log cannot be read: a broker that does not know what was signed must not sign
 */
export async function openCounters(options: {
  readonly audit: Sequencer;
  readonly store: StateStore;
  readonly stateDirectory: string;
  readonly approvals: Approvals;
  readonly log: Log;
}): Promise<Counters> {
  const { audit, store, log } = options;
  const lastEntryTimeMs = await timeOfLastEntry(audit);
  const clock = new BrokerClock({
    lastEntryTimeMs,
    onEvent: (event) =>
      log(event.kind === 'doubt-over' || event.kind === 'synchronised' ? 'info' : 'warn', 'clock', {
        event: event.kind,
        ...('byMs' in event ? { byMs: Math.round(event.byMs) } : {}),
      }),
  });

  const index = new UsageIndex(join(options.stateDirectory, 'limits.db'));
  const caughtUp = await index.catchUp(
    {
      origin: audit.origin,
      size: audit.size,
      read: (fromLeaf) => usages(audit, fromLeaf),
      // Entries have no index by time that is quick to ask: the whole log is right, and read once.
      firstLeafSince: () => 0,
    },
    clock.steadyNow(),
  );
  if (caughtUp.rebuilt !== undefined)
    log('info', 'usage of limits was counted again from the log', {
      why: caughtUp.rebuilt,
      entries: caughtUp.counted,
    });
  const budgets = new BudgetRows(store);
  // A state put back from an old copy has used less of a budget than the log says.
  budgets.raise(index.budgetTotals());
  const limits = new MemoryLimits({
    budgets,
    history: index,
    startedMs: clock.steadyNow(),
    onError: (message, cause) => log('error', message, { error: String(cause) }),
  });

  const guards = new SqliteGuards(new GuardRows(store), {
    onError: (message, cause) => log('error', message, { error: String(cause) }),
  });
  const check = await guards.checkAgainst({
    size: audit.size,
    read: (fromLeaf) => guarded(audit, fromLeaf),
  });
  if (check.missing > 0 || check.isAheadOfLog)
    log('error', 'the state of guards is not that of the log: it was lost, or put back from an old copy', {
      added: check.missing,
    });

  let snapshotAt = audit.size;
  const timer = setInterval(() => {
    clock.observe();
    try {
      index.flush(audit.size, clock.steadyNow());
      index.prune(clock.steadyNow());
      guards.markChecked(audit.size);
    } catch (error) {
      log('warn', 'counters could not be written, and will be counted again from the log', {
        error: String(error),
      });
    }
    if (audit.size - snapshotAt < GUARD_SNAPSHOT_ENTRIES) return;
    snapshotAt = audit.size;
    snapshot().catch((error) => log('error', 'guards are not on record', { error: String(error) }));
  }, FLUSH_MS);

  /** Where all guards stand, never pruned: what a lost state is put right with. */
  async function snapshot(): Promise<void> {
    for (const heads of guards.snapshots()) {
      await audit.append({
        kind: 'log',
        subject: 'lastmile',
        operation: 'guards.snapshot',
        decision: 'allow',
        performed: 'yes',
        detail: { heads },
      });
    }
  }

  return {
    clock,
    spending: new Spending({
      limits,
      guards,
      refusals: new AttemptLimiter(),
      approvals: options.approvals,
      now: () => clock.steadyNow(),
      onUsed: (leafIndex, timeMs, spiffeId, key, charges) =>
        index.record({ leafIndex, timeMs, charges: decodeCharges(charges, spiffeId, key) }),
    }),
    warnings: () => {
      const doubt = clock.doubtMs();
      return doubt === 0
        ? []
        : [
            Number.isFinite(doubt)
              ? `the clock may be wrong by ${doubt} ms: windows are closed where the policy's maxDoubt is less`
              : 'the clock is not synchronised: windows are closed',
          ];
    },
    close: async () => {
      clearInterval(timer);
      if (audit.failure === undefined) await snapshot();
      try {
        index.close(audit.size, clock.steadyNow());
      } catch (error) {
        log('warn', 'counters could not be written, and will be counted again from the log', {
          error: String(error),
        });
      }
    },
  };
}

async function timeOfLastEntry(audit: Sequencer): Promise<number | undefined> {
  if (audit.size === 0) return undefined;
  const bytes = await audit.getEntry(audit.size - 1);
  if (bytes === undefined) return undefined;
  const { time } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { readonly time: string };
  return Date.parse(time);
}

/** Inputs that were too long for their entry are no reason to count less. @throws Error */
function requireWhole(leafIndex: number, inputs: Entry['inputs']): void {
  if (inputs !== undefined && 'omittedBytes' in inputs)
    throw new Error(`entry ${leafIndex} does not say what it consumed`);
}

async function* usages(audit: Sequencer, fromLeaf: number): AsyncGenerator<LoggedUsage> {
  for await (const { leafIndex, entry } of audit.read(fromLeaf)) {
    const encoded = entry.inputs?.['charges'];
    requireWhole(leafIndex, entry.inputs);
    if (entry.kind !== 'key-use' || encoded === undefined || entry.performed === 'no') continue;
    const charges: readonly LoggedCharge[] = decodeCharges(encoded, entry.subject, entry.key ?? '');
    yield { leafIndex, timeMs: Date.parse(entry.time), charges };
  }
}

async function* guarded(audit: Sequencer, fromLeaf: number): AsyncGenerator<LoggedGuards> {
  for await (const { leafIndex, entry } of audit.read(fromLeaf)) {
    if (entry.kind === 'log' && entry.operation === 'guards.snapshot') {
      for (const { key, ...head } of decodeSnapshot(entry.detail?.['heads']))
        yield { leafIndex, key, guards: [head] };
      continue;
    }
    const encoded = entry.inputs?.['guards'];
    requireWhole(leafIndex, entry.inputs);
    if (entry.kind !== 'key-use' || encoded === undefined || entry.performed === 'no') continue;
    const digest = entry.input?.sha256;
    yield {
      leafIndex,
      key: entry.key ?? '',
      guards: decodeGuards(encoded),
      ...(digest === undefined ? {} : { content: Buffer.from(digest, 'base64url') }),
    };
  }
}
