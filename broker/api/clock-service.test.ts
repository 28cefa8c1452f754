import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, KeyUseFixture, policyOf } from '../../test/fakes/key-use-fixture.ts';
import { ALICE, callAdmin, operatorServicesOf } from '../../test/fakes/operator-services.ts';
import { BrokerClock } from '../keyuse/clock.ts';
import type { OperatorServices } from './operator-service.ts';

const HOUR = 3_600_000;
const START = Date.parse('2026-11-21T08:00:00.000Z');

let fixture: KeyUseFixture;
let services: OperatorServices;
let wall: number;
let clock: BrokerClock;

beforeEach(() => {
  fixture = new KeyUseFixture(['one']);
  fixture.policy = policyOf(`version: 1
roles:
  - id: operators
    members: ["${ALICE}"]
    allow: { methods: [Admin.*] }
`);
  wall = START;
  clock = new BrokerClock({
    wallMs: () => wall,
    monotonicMs: () => 0,
    synchronisation: () => 'unknown',
    onEvent: () => undefined,
  });
  services = operatorServicesOf(fixture, { clock });
});
afterEach(() => fixture.close());

const admin = (method: string, request: object) => callAdmin(services, method, request);

describe('a clock in doubt', () => {
  beforeEach(() => {
    wall += HOUR;
  });

  it('shows in the status, with both times', async () => {
    expect(await admin('GetStatus', {})).toMatchObject({
      clock: { now: '2026-11-21T08:00:00.000Z', inDoubt: true, doubtMs: HOUR },
    });
  });

  it('is right again when an operator says why, which is on record with what it was', async () => {
    expect(await admin('AcceptClock', { reason: 'compared' })).toMatchObject({
      clock: { now: '2026-11-21T09:00:00.000Z', inDoubt: false, doubtMs: 0 },
    });
    expect(clock.doubtMs()).toBe(0);
    const recorded = { why: 'compared', clock: '2026-11-21T08:00:00.000Z', doubtMs: HOUR };
    expect(fixture.log.of('method')).toMatchObject([
      { operation: 'Admin.AcceptClock', performed: 'unknown', detail: { ...recorded, stage: 'begun' } },
      { operation: 'Admin.AcceptClock', performed: 'yes', subject: ALICE, detail: recorded },
    ]);
  });

  it('stays so without a reason', async () => {
    for (const reason of ['', '  ', 'x'.repeat(257)])
      expect(await failureOf(admin('AcceptClock', { reason }))).toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(clock.doubtMs()).toBe(HOUR);
  });
});

it('an unsynchronised machine stays in doubt whatever is said', async () => {
  services = {
    ...services,
    clock: new BrokerClock({
      wallMs: () => wall,
      monotonicMs: () => 0,
      synchronisation: () => 'unsynchronised',
      onEvent: () => undefined,
    }),
  };
  expect(await admin('AcceptClock', { reason: 'compared' })).toMatchObject({
    clock: { inDoubt: true, doubtMs: 0 },
  });
});

it('ExplainPolicy decides as of the broker’s clock, or of the time that is asked about', async () => {
  fixture.policy = policyOf(`version: 1
roles:
  - id: operators
    members: ["${ALICE}"]
    allow: { methods: [Admin.*] }
rules:
  - id: mornings
    workloads: ["spiffe://example.org/ns/payments/sa/api"]
    keys: [app/k]
    operations: [sign]
    windows: [{ from: "08:00", to: "09:00", zone: UTC }]
`);
  const asked = { workload: 'spiffe://example.org/ns/payments/sa/api', key: 'app/k', operation: 'sign' };
  expect(await admin('ExplainPolicy', asked)).toMatchObject({ decision: 'allow', rule: 'mornings' });
  expect(await admin('ExplainPolicy', { ...asked, at: '2026-11-21T09:00:00Z' })).toMatchObject({
    decision: 'deny',
    considered: [{ rule: 'mornings', matched: false }],
  });
  expect(await failureOf(admin('ExplainPolicy', { ...asked, facts: '{}' }))).toMatchObject({
    reason: 'REQUEST_INVALID',
  });
});
