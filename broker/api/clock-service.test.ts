import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callerOf, callFor, failureOf, KeyUseFixture, policyOf } from '../../test/fakes/key-use-fixture.ts';
import { BrokerClock } from '../keyuse/clock.ts';
import { codec } from '../proto/codec.ts';
import { type OperatorServices, operatorHandlers, type ReadableLog } from './operator-service.ts';

const ALICE = 'spiffe://example.org/human/alice';
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
  const { log: audit, ...parts } = fixture;
  services = {
    ...parts,
    policy: () => fixture.policy,
    trustDomains: ['example.org'],
    encryptionsReserved: () => 0,
    audit: audit as unknown as ReadableLog,
    generation: () => 7,
    verifierKey: () => '',
    status: async () => ({}),
    unblockToken: async () => undefined,
    drainToken: () => 0,
    undrainToken: () => undefined,
    tokenLoad: (token) => fixture.pool.load(token),
    policies: () => {
      throw new Error('not asked here');
    },
    clock,
  };
});
afterEach(() => fixture.close());

async function admin(method: string, request: object): Promise<object> {
  const handler = operatorHandlers(services).get(`/lastmile.v1.Admin/${method}`)!;
  const bytes = codec<object, object>(`lastmile.v1.${method}Request`).encode(request);
  return codec<object, object>(`lastmile.v1.${method}Response`).decode(
    await handler(callerOf(ALICE), callFor(), bytes),
  );
}

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
