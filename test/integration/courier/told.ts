import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CourierConfiguration, Destination, Outcome } from '../../../broker/courier/courier-frames.ts';
import { type Courier, startCourier } from '../../../broker/courier/courier-supervisor.ts';
import type { Notice } from '../../../broker/courier/notice.ts';
import { NOTICE_TYPES } from '../../../broker/courier/notice.ts';
import { roleUsers, treeRoot } from '../../../hsm-adapters/frames/isolation.ts';
import { type Receiver, startReceiver } from './receiver.ts';

export const SECRET = 'a secret of more than 24 bytes';

export interface RunningCourier {
  readonly courier: Courier;
  /** Tells, and notes what was not taken by the time the courier was stopped. */
  tell(notice: Notice): void;
  readonly refusals: Error[];
  readonly outcomes: Outcome[];
  readonly log: string[];
  /** Resolves once `condition` holds; looks again whenever anything happens. */
  until(condition: () => boolean): Promise<void>;
}

/** A directory for the queue and a secret, couriers on it, and those whom they tell. */
export function courierPlace() {
  const directory = mkdtempSync(join(tmpdir(), 'lastmile-courier-'));
  const secretFile = join(directory, 'secret');
  writeFileSync(secretFile, `${SECRET}\n`, { mode: 0o600 });
  const running: Courier[] = [];
  const receivers: Receiver[] = [];
  return {
    directory,
    secretFile,
    queueDirectory: join(directory, 'queue'),
    webhook: (
      url: string,
      changes: Partial<Extract<Destination, { kind: 'webhook' }>> = {},
    ): Destination => ({
      kind: 'webhook',
      name: 'chat',
      events: NOTICE_TYPES,
      url,
      secretFile,
      timeoutMs: 5_000,
      ...changes,
    }),
    start: (
      destinations: readonly Destination[],
      changes: Partial<CourierConfiguration> = {},
    ): RunningCourier => {
      const waiting = new Set<() => void>();
      const outcomes: Outcome[] = [];
      const log: string[] = [];
      const happened = () => {
        for (const check of waiting) check();
      };
      const courier = startCourier({
        configuration: {
          destinations,
          giveUpAfterMs: 3_600_000,
          firstRetryMs: 20,
          longestRetryMs: 100,
          maxQueued: 100,
          ...changes,
        },
        queueDirectory: join(directory, 'queue'),
        user: roleUsers().courier,
        root: treeRoot(),
        log: (_level, message, fields) => {
          log.push(`${message} ${JSON.stringify(fields ?? {})}`);
          happened();
        },
        onOutcome: (outcome) => {
          outcomes.push(outcome);
          happened();
        },
        restartPolicy: { firstDelayMs: 10, maxDelayMs: 50, healthyAfterMs: 30_000 },
      });
      running.push(courier);
      const refusals: Error[] = [];
      return {
        courier,
        tell: (told) => {
          courier.tell(told).then(happened, (error: Error) => {
            refusals.push(error);
            happened();
          });
        },
        refusals,
        outcomes,
        log,
        until: (condition) =>
          new Promise((resolve) => {
            const check = () => {
              if (!condition()) return;
              waiting.delete(check);
              resolve();
            };
            waiting.add(check);
            check();
          }),
      };
    },
    receiver: async (options: Parameters<typeof startReceiver>[0] = {}): Promise<Receiver> => {
      const receiver = await startReceiver(options);
      receivers.push(receiver);
      return receiver;
    },
    end: async () => {
      await Promise.all(running.splice(0).map((courier) => courier.stop()));
    },
    /** After `end`. */
    remove: async () => {
      await Promise.all(receivers.splice(0).map((receiver) => receiver.stop()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function notice(id: string, changes: Partial<Notice> = {}): Notice {
  return {
    id,
    type: 'approval.opened',
    timestamp: '2026-11-21T08:00:00.000Z',
    data: { approval: 'a1', operation: 'sign', key: 'treasury/settlement', needed: 2, emergency: false },
    ...changes,
  };
}
