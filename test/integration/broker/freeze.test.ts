import { createHash } from 'node:crypto';
import type { Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient, SigningStream } from '../../../broker/client/client.ts';
import type { LastmileReason } from '../../../broker/client/errors.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  BILLING,
  entries,
  fingerprint,
  issueSvid,
  operator,
  PAYMENTS,
  rawCall,
  rawClient,
  refusal,
  status,
  workload,
} from '../../fakes/instance-clients.ts';
import { busyTokens } from './busy-tokens.ts';

const message = Buffer.from('a message');
const OURS = { key: 'payments/jwt', algorithm: 'ES256', message };
const THEIRS = { key: 'billing/invoices', algorithm: 'ES256', message };

let instance: RunningInstance;
let admin: OperatorClient;
let payments: LastmileClient;
let billing: LastmileClient;

async function connectAll(): Promise<void> {
  admin = await operator(instance);
  payments = await workload(instance, 'payments');
  billing = await workload(instance, 'billing');
}

function closeAll(): void {
  payments?.close();
  billing?.close();
  admin?.close();
}

beforeAll(async () => {
  instance = await startInstance();
  await connectAll();
});

afterAll(async () => {
  closeAll();
  await instance?.stop();
});

function freeze(kind: string, subject: string) {
  return admin.admin('Freeze', { kind, subject, reason: `freeze ${kind}` });
}

function unfreeze(kind: string, subject: string) {
  return admin.admin('Unfreeze', { kind, subject, reason: `unfreeze ${kind}` });
}

function refusals(...calls: Promise<unknown>[]) {
  return Promise.all(calls.map(refusal));
}

describe('a freeze', () => {
  let stream: SigningStream;
  /** Does not try again what the broker says was not performed. */
  let once: LastmileClient;
  beforeAll(async () => {
    stream = payments.signStream();
    await stream.sign(OURS);
    once = await workload(instance, 'payments', { maxAttempts: 1 });
  });
  afterAll(async () => {
    await stream?.end();
    once?.close();
  });

  it('of a workload is effective on its next request and on its open stream, and on nobody else’s', async () => {
    const { log } = await freeze('workload', PAYMENTS);
    const calls = {
      sign: () => payments.sign(OURS),
      stream: () => stream.sign(OURS),
      verify: () => payments.verify({ ...OURS, signature: Buffer.alloc(64, 1) }),
      encrypt: () => payments.encrypt({ key: 'payments/data', plaintext: message }),
      decrypt: () => payments.decrypt({ key: 'payments/data', ciphertext: Buffer.alloc(60) }),
      mac: () => payments.mac({ key: 'payments/webhook', message }),
      verifyMac: () => payments.verifyMac({ key: 'payments/webhook', message, mac: Buffer.alloc(32) }),
      dataKey: () => payments.generateDataKey({ key: 'payments/data' }),
      random: () => payments.generateRandom(16),
      publicKey: () => payments.getPublicKey({ key: 'payments/jwt' }),
      list: () => payments.listKeys(),
      receipt: () => payments.getReceipt(0),
    };
    for (const [name, call] of Object.entries(calls)) {
      const { code, reason, performed } = await refusal(call());
      expect({ name, code, reason, performed }).toEqual({
        name,
        code: 'UNAUTHENTICATED',
        reason: 'CREDENTIAL_FROZEN',
        performed: 'no',
      });
    }
    await billing.sign(THEIRS);
    await unfreeze('workload', PAYMENTS);
    await payments.sign(OURS);
    await stream.sign(OURS);
    const [lifted, put] = [
      ...(await entries(admin, { kind: 'unfreeze', limit: 1 })),
      ...(await entries(admin, { kind: 'freeze', limit: 1 })),
    ];
    expect(put).toMatchObject({
      leaf: log!.leafIndex,
      subject: 'spiffe://example.org/human/operator',
      decision: 'allow',
      detail: { what: 'workload', whom: PAYMENTS, why: 'freeze workload' },
    });
    expect(lifted!.detail).toEqual({
      what: 'workload',
      whom: PAYMENTS,
      why: 'unfreeze workload',
      begun: lifted!.leaf - 1,
    });
  });

  it('of a key stops that key alone, at once', async () => {
    const signed = await payments.sign(OURS);
    await freeze('key', OURS.key);
    for (const refused of await refusals(
      payments.sign(OURS),
      stream.sign(OURS),
      payments.verify({ ...OURS, signature: signed.signature }),
    )) {
      expect(refused).toMatchObject({
        code: 'FAILED_PRECONDITION',
        reason: 'KEY_UNUSABLE',
        performed: 'no',
      });
    }
    await payments.mac({ key: 'payments/webhook', message });
    const { versions } = await admin.admin('GetKey', { key: OURS.key });
    expect(versions[0]!.state).toBe('active, frozen');
    await unfreeze('key', OURS.key);
    await stream.sign(OURS);
    await payments.sign(OURS);
  });

  it('of a key tells nothing to who may not use it', async () => {
    const before = await refusal(billing.sign(OURS));
    await freeze('key', OURS.key);
    const after = await refusal(billing.sign(OURS));
    await unfreeze('key', OURS.key);
    expect({ ...after, message: after.message }).toEqual({ ...before, message: before.message });
  });

  it('of a token leaves its work to the other; of both, none is done', async () => {
    const serials = new Map((await status(admin)).tokens.map(({ name, serial }) => [name, serial]));
    await freeze('token', 'a');
    for (let i = 0; i < 8; i++) {
      const { log } = await payments.sign(OURS);
      const { entry } = await admin.audit('GetEntry', { leafIndex: log.leafIndex });
      const { attempts } = JSON.parse(Buffer.from(entry!.entry).toString()) as {
        attempts: { token: string }[];
      };
      expect(attempts.map(({ token }) => token)).toEqual([serials.get('b')]);
    }
    await freeze('token', 'b');
    for (const refused of await refusals(once.sign(OURS), once.generateRandom(8))) {
      expect(refused).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
    }
    await unfreeze('token', 'a');
    await unfreeze('token', 'b');
    await payments.sign(OURS);
  });

  it('of a credential stops that certificate, and not the workload’s next one', async () => {
    const credential = fingerprint(instance, 'payments');
    await issueSvid(instance, 'payments-next', { spiffeId: PAYMENTS });
    const next = await workload(instance, 'payments', {
      svid: {
        certificateFile: `${instance.directory}/pki/payments-next.crt`,
        keyFile: `${instance.directory}/pki/payments-next.key`,
        trustBundleFile: `${instance.directory}/pki/ca.crt`,
      },
    });
    try {
      await next.sign(OURS);
      await freeze('credential', credential);
      for (const refused of await refusals(payments.sign(OURS), stream.sign(OURS)))
        expect(refused).toMatchObject({ reason: 'CREDENTIAL_FROZEN' });
      await next.sign(OURS);
      await unfreeze('credential', credential);
      await payments.sign(OURS);
    } finally {
      next.close();
    }
  });

  it('says what it needs: a reason, and something that there is', async () => {
    const refused = (request: object) =>
      refusal(admin.admin('Freeze', { kind: 'workload', subject: BILLING, reason: 'x', ...request }));
    for (const request of [
      { reason: ' ' },
      { kind: 'user' },
      { subject: '' },
      { subject: 'example.org/ns/billing' },
      { kind: 'key', subject: 'payments/jwtt' },
      { kind: 'token', subject: 'c' },
      { kind: 'credential', subject: 'abc' },
    ])
      expect(await refused(request), JSON.stringify(request)).toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(await refusal(unfreeze('workload', BILLING))).toMatchObject({ reason: 'REQUEST_INVALID' });
    expect((await admin.admin('ListFreezes', {})).freezes).toEqual([]);
    await billing.sign(THEIRS);
  });
});

describe('work that waits for a token', () => {
  let raw: Client;
  beforeAll(() => {
    raw = rawClient(instance, 'payments', 'target');
  });
  afterAll(() => raw?.close());

  const { encode } = codec<object, object>('lastmile.v1.SignRequest');

  it.each<[string, string, readonly string[], LastmileReason]>([
    ['the workload', 'workload', [PAYMENTS], 'CREDENTIAL_FROZEN'],
    ['the key', 'key', [OURS.key], 'KEY_UNUSABLE'],
    ['both tokens', 'token', ['a', 'b'], 'TOKEN_UNREACHABLE'],
  ])('is not done after a freeze of %s', async (_name, kind, subjects, reason) => {
    const busy = await busyTokens(admin, raw);
    // One each of what is signed, so that the log tells them apart.
    const messages = Array.from({ length: 5 }, (_, i) => Buffer.from(`${kind} ${subjects.join()} ${i}`));
    const answers = Promise.all(
      messages.map((content) =>
        rawCall(raw, '/lastmile.v1.KeyUse/Sign', encode({ ...OURS, message: content }), 20_000),
      ),
    );
    try {
      await busy.arrived();
      for (const subject of subjects) await freeze(kind, subject);
    } finally {
      await busy.release();
    }
    const outcomes = new Set(
      (await answers).map((answer) => `${answer.reason} ${answer.metadata.performed}`),
    );
    for (const subject of subjects) await unfreeze(kind, subject);
    expect([...outcomes]).toEqual([`${reason} no`]);
    // Refusals are counted; a use of a key always has an entry of its own.
    const digests = new Set(
      messages.map((content) => createHash('sha256').update(content).digest('base64url')),
    );
    const all = await entries(admin, { kind: 'key-use', operation: 'sign', workload: PAYMENTS });
    const used = all.filter(({ attempts = [] }) => attempts.length > 0);
    expect(used.length).toBeGreaterThan(0);
    expect(used.filter(({ input }) => digests.has(input?.sha256 ?? ''))).toEqual([]);
  });
});

describe('after a restart', () => {
  it('every freeze still holds', async () => {
    const frozen = [
      ['workload', BILLING],
      ['key', 'payments/webhook'],
      ['token', 'b'],
      ['credential', fingerprint(instance, 'auditor')],
    ] as const;
    for (const [kind, subject] of frozen) await freeze(kind, subject);
    const listed = (await admin.admin('ListFreezes', {})).freezes;
    closeAll();
    // Without warning: nothing of a freeze may wait for an orderly end.
    await instance.end('SIGKILL');
    instance = await instance.serveAgain();
    await connectAll();
    expect((await admin.admin('ListFreezes', {})).freezes).toEqual(listed);
    expect(listed.map(({ kind, subject }) => [kind, subject])).toEqual(frozen);
    expect(await refusal(billing.sign(THEIRS))).toMatchObject({ reason: 'CREDENTIAL_FROZEN' });
    expect(await refusal(payments.mac({ key: 'payments/webhook', message }))).toMatchObject({
      reason: 'KEY_UNUSABLE',
    });
    const auditor = await operator(instance, 'auditor');
    expect(await refusal(auditor.audit('Query', {}))).toMatchObject({ reason: 'CREDENTIAL_FROZEN' });
    auditor.close();
    await payments.sign(OURS);
    for (const [kind, subject] of frozen) await unfreeze(kind, subject);
    await billing.sign(THEIRS);
  });

  it('a frozen trust domain is frozen for everybody in it, but for the administrator who can lift it', async () => {
    await freeze('trust-domain', 'example.org');
    const auditor = await operator(instance, 'auditor');
    for (const refused of await refusals(
      payments.sign(OURS),
      billing.sign(THEIRS),
      status(admin),
      auditor.audit('Query', {}),
      auditor.admin('Unfreeze', {
        kind: 'trust-domain',
        subject: 'example.org',
        reason: 'not theirs to lift',
      }),
    ))
      expect(refused).toMatchObject({ reason: 'CREDENTIAL_FROZEN' });
    auditor.close();
    closeAll();
    await instance.end();
    instance = await instance.serveAgain();
    await connectAll();
    for (const refused of await refusals(payments.sign(OURS), billing.sign(THEIRS)))
      expect(refused).toMatchObject({ reason: 'CREDENTIAL_FROZEN' });
    const { freezes } = await admin.admin('ListFreezes', {});
    expect(freezes).toMatchObject([{ kind: 'trust-domain', subject: 'example.org' }]);
    await unfreeze('trust-domain', 'example.org');
    await payments.sign(OURS);
    await status(admin);
  });
});
