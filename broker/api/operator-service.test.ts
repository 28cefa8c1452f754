import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdapterError } from '../../hsm-adapters/adapter.ts';
import {
  API,
  callerOf,
  callFor,
  failureOf,
  KeyUseFixture,
  policyOf,
} from '../../test/fakes/key-use-fixture.ts';
import { ALICE, callAdmin, operatorServicesOf } from '../../test/fakes/operator-services.ts';
import { AuditError } from '../audit/entry.ts';
import type { Call } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import { type OperatorServices, operatorHandlers } from './operator-service.ts';
import type { PolicyVersions } from './policy-service.ts';

const POLICY = `
version: 1
roles:
  - id: operators
    members: ["${ALICE}"]
    allow: { methods: [Admin.*, Audit.*] }
`;
const APPROVERS = `approvers:
  - { id: anna, keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' }] }
`;
const FULL = new AuditError('AUDIT_UNAVAILABLE', 'no space left');

const policies: PolicyVersions = {
  current: { hash: 'sha256:first' },
  check: async () => ({ issues: [], warnings: [], summary: undefined }),
  reload: async () => ({ hash: 'sha256:second' }),
  read: async () => undefined,
  activations: async () => [],
  propose: async (content, by) => ({
    policyHash: 'sha256:third',
    approval: `${content?.length ?? 'file'} by ${by}`,
    isApproved: false,
    differences: ['rule signs added'],
  }),
  activate: async (hash) => ({ hash }),
};

let fixture: KeyUseFixture;
let services: OperatorServices;

beforeEach(() => {
  fixture = new KeyUseFixture();
  fixture.policy = policyOf(POLICY);
  services = operatorServicesOf(fixture, { policies: () => policies });
});
afterEach(() => fixture.close());

const admin = (method: string, request: object, as?: Parameters<typeof callAdmin>[3]): Promise<object> =>
  callAdmin(services, method, request, as);

const freeze = (kind: string, subject: string) => admin('Freeze', { kind, subject, reason: 'drill' });
const unfreeze = (kind: string, subject: string) => admin('Unfreeze', { kind, subject, reason: 'over' });

/** The log takes these many entries, and then no more. */
function fillAfter(entries: number): void {
  let left = entries;
  fixture.log.rejection = () => (left-- > 0 ? undefined : FULL);
}

describe('a freeze', () => {
  it.each([
    ['workload', 'spiffe://example.org/ns/payments/*'],
    ['workload', 'spiffe://example.org/ns/payments/sa/api/'],
    ['workload', 'spiffe://example.org/ns//api'],
    ['workload', 'spiffe://example.org'],
    ['workload', 'spiffe://Example.org/ns/payments/sa/api'],
    ['workload', 'spiffe://example.com/ns/payments/sa/api'],
    ['workload', 'payments/sa/api'],
    ['trust-domain', 'Example.ORG'],
    ['trust-domain', 'spiffe://example.org'],
    ['trust-domain', 'example.org/'],
    ['trust-domain', 'example.org/ns'],
    ['trust-domain', 'example.com'],
    ['token', 'three'],
    ['key', 'app/none'],
    ['credential', 'AB'.repeat(32)],
    ['credential', 'ab'.repeat(31)],
    ['approver', 'ben'],
    ['approver', 'spiffe://example.org/human/anna'],
    ['everything', 'x'],
    ['workload', ''],
  ])('that would freeze nothing is refused: %s %s', async (kind, subject) => {
    fixture.policy = policyOf(`${POLICY}${APPROVERS}`);
    expect(await failureOf(freeze(kind, subject))).toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(fixture.freezes.list()).toEqual([]);
  });

  it.each([
    ['workload', API, API],
    ['trust-domain', 'example.org', 'example.org'],
    ['token', 'one', 'one'],
    ['token', 'serial-two', 'two'],
    ['credential', 'ab'.repeat(32), 'ab'.repeat(32)],
    ['approver', 'anna', 'anna'],
  ] as const)('is in force under the name that key use asks for: %s %s', async (kind, subject, asked) => {
    // Who freezes itself out has been heard: the caller of this test is not whom it freezes.
    services = {
      ...services,
      keyUse: { identify: async () => undefined } as unknown as typeof services.keyUse,
    };
    fixture.policy = policyOf(`${POLICY}${APPROVERS}`);
    await freeze(kind, subject);
    expect(fixture.freezes.isFrozen(kind, asked)).toBe(true);
    await unfreeze(kind, subject);
    expect(fixture.freezes.list()).toEqual([]);
  });

  it('that was put while the one before it was being lifted stays', async () => {
    await freeze('workload', API);
    const older = fixture.freezes.get('workload', API);
    const gate = fixture.log.hold();
    const lifting = unfreeze('workload', API);
    await gate.reached;
    const newer = freeze('workload', API);
    await vi.waitUntil(() => fixture.freezes.get('workload', API) !== older);
    gate.release();
    expect(await failureOf(lifting)).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: expect.stringContaining('frozen again'),
    });
    await newer;
    expect(fixture.freezes.isFrozen('workload', API)).toBe(true);
    expect(fixture.log.of('unfreeze').map(({ performed }) => performed)).toEqual(['unknown', 'no']);
  });

  it('that cannot be stored holds all the same, and the operator and the log hear that it will not last', async () => {
    fixture.store.putFreeze = () => {
      throw new Error('disk full');
    };
    const failure = await failureOf(freeze('workload', API));
    expect(failure).toMatchObject({ performed: 'yes', message: expect.stringContaining('in force until') });
    expect(fixture.freezes.isFrozen('workload', API)).toBe(true);
    expect(fixture.log.of('freeze')).toMatchObject([
      { performed: 'yes', detail: { durable: 'no', whom: API } },
    ]);
  });

  it('that can be neither stored nor logged holds', async () => {
    fixture.store.putFreeze = () => {
      throw new Error('disk full');
    };
    fixture.log.failure = FULL;
    fillAfter(0);
    const failure = await failureOf(freeze('workload', API));
    expect(failure).toMatchObject({ performed: 'yes', message: expect.stringContaining('not on record') });
    expect(fixture.freezes.isFrozen('workload', API)).toBe(true);
  });

  it('is not lifted while that cannot be put on record', async () => {
    await freeze('workload', API);
    fillAfter(0);
    await expect(unfreeze('workload', API)).rejects.toBe(FULL);
    expect(fixture.freezes.isFrozen('workload', API)).toBe(true);
  });
});

describe('a change', () => {
  const request = { key: 'app/new', algorithms: ['ES256'] };

  it('is on record before it begins and after it ended', async () => {
    await admin('CreateKey', request);
    const [begun, ended] = fixture.log.of('method');
    expect(begun).toMatchObject({ performed: 'unknown', key: 'app/new', detail: { stage: 'begun' } });
    expect(ended).toMatchObject({ performed: 'yes', key: 'app/new', subject: ALICE });
    expect(ended!.detail).toMatchObject({ begun: fixture.log.entries.indexOf(begun!) });
  });

  it.each([0, 1])('does not begin while the log cannot be written (%i)', async (hasFailed) => {
    if (hasFailed === 1) fixture.log.failure = FULL;
    else fillAfter(0);
    await expect(admin('CreateKey', request)).rejects.toBe(FULL);
    expect(fixture.catalog.all()).toEqual([]);
    expect(fixture.tokens.flatMap((token) => token.objects)).toEqual([]);
  });

  it('that ends while the log cannot be written leaves who began it, and says that it is done', async () => {
    fillAfter(3);
    const failure = await failureOf(admin('CreateKey', request));
    expect(failure).toMatchObject({ reason: 'AUDIT_UNAVAILABLE', performed: 'yes' });
    expect(fixture.log.of('method')).toMatchObject([
      { subject: ALICE, key: 'app/new', performed: 'unknown' },
    ]);
  });

  it.each([
    [new Failure('REQUEST_INVALID', 'no'), 'REQUEST_INVALID', 'no'],
    [new TypeError('a defect'), 'INTERNAL', 'unknown'],
  ])('that fails with %o is on record as such', async (error, reason, performed) => {
    services = {
      ...services,
      policies: () => ({ ...policies, reload: () => Promise.reject(error) }),
    };
    expect(await failureOf(admin('ReloadPolicy', {}))).toMatchObject({ reason });
    expect(fixture.log.of('method').at(-1)).toMatchObject({
      reason,
      performed,
      operation: 'Admin.ReloadPolicy',
    });
  });
});

describe('a look into the log', () => {
  /** A log that goes on looking until it is told not to. */
  function endless(): { readonly asked: Promise<AbortSignal> } {
    const { promise: asked, resolve } = Promise.withResolvers<AbortSignal>();
    Object.assign(services.audit, {
      queryPage: (_filter: unknown, signal: AbortSignal) => {
        resolve(signal);
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error)),
        );
      },
    });
    return { asked };
  }

  async function query(call: Call): Promise<Uint8Array> {
    return operatorHandlers(services).get('/lastmile.v1.Audit/Query')!(
      callerOf(ALICE),
      call,
      new Uint8Array(),
    );
  }

  it('ends at its deadline', async () => {
    endless();
    expect(await failureOf(query(callFor(30)))).toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
  });

  it('ends when its caller has gone', async () => {
    const { asked } = endless();
    const call = callFor();
    const answer = failureOf(query(call));
    await asked;
    call.cancel();
    expect(await answer).toMatchObject({ reason: 'CANCELLED' });
  });
});

describe('a token', () => {
  it.each([
    ['DrainToken', 'draining'],
    ['UndrainToken', 'ready'],
  ])('%s is between two entries, needs a reason, and leaves it %s', async (method, state) => {
    if (method === 'UndrainToken') fixture.token.drain();
    expect(await failureOf(admin(method, { token: 'one', reason: ' ' }))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    await admin(method, { token: 'one', reason: 'firmware' });
    expect(fixture.token.state).toBe(state);
    expect(fixture.log.of('token')).toMatchObject([
      { operation: `Admin.${method}`, performed: 'unknown', detail: { token: 'one', stage: 'begun' } },
      { operation: `Admin.${method}`, performed: 'yes', detail: { token: 'one', why: 'firmware', begun: 0 } },
    ]);
  });

  it('is not drained when that cannot be put on record', async () => {
    fillAfter(0);
    await expect(admin('DrainToken', { token: 'one', reason: 'firmware' })).rejects.toThrow('no space left');
    expect(fixture.token.state).toBe('ready');
  });

  it('is shown with its load, its errors and what its flags say of the PIN', async () => {
    const version = await fixture.create('app/k', 'ES256', { tokens: ['one'] });
    const binding = await fixture.pool.choose('a', version, callFor());
    const error = new AdapterError('TOKEN_UNREACHABLE', 'x', {
      performed: 'unknown',
      ckr: 'CKR_DEVICE_ERROR',
    });
    fixture.pool.release(binding, error);
    expect(await admin('ListTokens', {})).toMatchObject({
      tokens: [
        {
          name: 'one',
          circuit: 'closed',
          errors: { CKR_DEVICE_ERROR: 1 },
          workerPid: 4711,
          pinLocked: false,
        },
        { name: 'two', errors: {} },
      ],
    });
  });
});

it('an explanation says that people have to agree', async () => {
  fixture.policy = policyOf(`${POLICY}
approvers:
  - id: anna
    keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' }]
groups: { treasury: [anna] }
rules:
  - { id: settles, workloads: ["${API}"], keys: [k], operations: [sign], quorum: { approvals: 1, of: treasury, within: 15m } }
`);
  const asked = { workload: API, key: 'k', operation: 'sign', algorithm: 'ES256' };
  expect(await admin('ExplainPolicy', asked)).toMatchObject({
    decision: 'pending',
    rule: 'settles',
    considered: [{ matched: true, missing: ['needs 1 approval of treasury, within 15m'] }],
  });
});
