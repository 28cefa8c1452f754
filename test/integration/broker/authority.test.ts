import type { Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codec, declaredMethods } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  PAYMENTS,
  type RawAnswer,
  rawCall,
  rawClient,
  rawStream,
  refusal,
  workload,
} from '../../fakes/instance-clients.ts';

/** gRPC status codes. */
const OK = 0;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

const message = Buffer.from('a message');

/** No rule of a new instance allows it, and its policy has no certificate profiles. */
const typedSigning: Readonly<Record<string, string>> = {
  SignJwt: `${PERMISSION_DENIED} POLICY_DENIED`,
  SignDsse: `${PERMISSION_DENIED} POLICY_DENIED`,
  SignCertificate: `${PERMISSION_DENIED} POLICY_DENIED`,
};

let instance: RunningInstance;
let onWorkloads: Client;
let onControl: Client;

beforeAll(async () => {
  instance = await startInstance();
  onWorkloads = rawClient(instance, 'payments', 'target');
  onControl = rawClient(instance, 'payments', 'control');
});

afterAll(async () => {
  onWorkloads?.close();
  onControl?.close();
  await instance?.stop();
});

/** Requests that are right, so that nothing but permission can be the reason of a refusal. */
async function rightRequests(): Promise<ReadonlyMap<string, object>> {
  const client = await workload(instance, 'payments');
  try {
    const signed = await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
    const { ciphertext } = await client.encrypt({ key: 'payments/data', plaintext: message });
    const { mac } = await client.mac({ key: 'payments/webhook', message });
    const typed = { key: 'payments/jwt', algorithm: 'ES256' };
    const sign = { ...typed, message };
    return new Map<string, object>([
      ['Sign', sign],
      ['SignStream', { requestId: 'one', sign }],
      ['Verify', { ...sign, signature: signed.signature }],
      ['Encrypt', { key: 'payments/data', plaintext: message }],
      ['Decrypt', { key: 'payments/data', ciphertext }],
      ['Mac', { key: 'payments/webhook', message }],
      ['VerifyMac', { key: 'payments/webhook', message, mac }],
      ['GenerateDataKey', { key: 'payments/data' }],
      ['GenerateRandom', { length: 16 }],
      ['GetPublicKey', { key: 'payments/jwt' }],
      ['ListKeys', {}],
      ['GetReceipt', { leafIndex: signed.log.leafIndex }],
      ['SignJwt', { ...typed, claims: Buffer.from('{"sub":"x"}'), lifetimeSeconds: 60 }],
      ['SignDsse', { ...typed, payloadType: 'text/plain', payload: message }],
      ['SignCertificate', { ...typed, profile: 'none' }],
      ['GetKey', { key: 'payments/jwt' }],
      ['CreateKey', { key: 'payments/own', purpose: 'sign', algorithms: ['ES256'] }],
      [
        'ImportKey',
        { key: 'payments/own', purpose: 'sign', algorithms: ['ES256'], token: 'a', label: 'payments/jwt#1' },
      ],
      ['UnblockToken', { token: 'a', reason: 'try' }],
      ['DrainToken', { token: 'a', reason: 'try' }],
      ['UndrainToken', { token: 'a', reason: 'try' }],
      ['Freeze', { kind: 'workload', subject: 'spiffe://example.org/ns/billing/sa/invoices', reason: 'try' }],
      ['Unfreeze', { kind: 'workload', subject: PAYMENTS, reason: 'try' }],
      ['ExplainPolicy', { workload: PAYMENTS, key: 'payments/jwt', operation: 'sign', algorithm: 'ES256' }],
      ['GetEntry', { leafIndex: signed.log.leafIndex }],
      ['GetProof', { leafIndex: signed.log.leafIndex }],
      ['ReadTile', { path: 'checkpoint' }],
    ]);
  } finally {
    client.close();
  }
}

describe('every method, called with a workload’s SVID', () => {
  it('allows on each listener exactly the workload’s own key use', async () => {
    const requests = await rightRequests();
    const outcomes: Record<string, string> = {};
    const expected: Record<string, string> = {};
    for (const method of declaredMethods()) {
      const path = `/lastmile.v1.${method.service}/${method.name}`;
      const payload = codec<object, object>(method.requestType).encode(requests.get(method.name) ?? {});
      const call = method.streaming ? rawStream : rawCall;
      outcomes[`workloads ${path}`] = summary(await call(onWorkloads, path, payload), method.streaming);
      outcomes[`control ${path}`] = summary(await call(onControl, path, payload), method.streaming);
      const isKeyUse = method.service === 'KeyUse';
      expected[`workloads ${path}`] = isKeyUse ? (typedSigning[method.name] ?? `${OK}`) : `${UNIMPLEMENTED}`;
      expected[`control ${path}`] = isKeyUse ? `${UNIMPLEMENTED}` : `${PERMISSION_DENIED} POLICY_DENIED`;
    }
    expect(outcomes).toEqual(expected);
    // The contract only grows: fewer would mean that not all of it was walked.
    expect(Object.keys(outcomes).length).toBeGreaterThanOrEqual(2 * (15 + 15 + 5));
  });

  it('refuses all key use of an auditor, but for reading that nothing is his', async () => {
    const client = rawClient(instance, 'auditor', 'target');
    try {
      const requests = await rightRequests();
      const outcomes: Record<string, string> = {};
      for (const method of declaredMethods().filter(({ service }) => service === 'KeyUse')) {
        const payload = codec<object, object>(method.requestType).encode(requests.get(method.name) ?? {});
        const call = method.streaming ? rawStream : rawCall;
        const answer = await call(client, `/lastmile.v1.KeyUse/${method.name}`, payload);
        outcomes[method.name] = summary(answer, method.streaming);
        if (method.name === 'ListKeys') {
          expect(codec<object, object>(method.responseType).decode(answer.ok!)).toEqual({ keys: [] });
        }
      }
      const denied = `${PERMISSION_DENIED} POLICY_DENIED`;
      expect(outcomes).toEqual({
        ...Object.fromEntries(Object.keys(outcomes).map((name) => [name, denied])),
        ...typedSigning,
        ListKeys: `${OK}`,
      });
    } finally {
      client.close();
    }
  });

  it('shows nobody the receipt of somebody else’s entry', async () => {
    const payments = await workload(instance, 'payments');
    const billing = await workload(instance, 'billing');
    try {
      const { log } = await payments.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
      const theirs = await refusal(billing.getReceipt(log.leafIndex));
      const none = await refusal(billing.getReceipt(10_000_000));
      expect(theirs).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'POLICY_DENIED' });
      expect(told(theirs)).toEqual(told(none));
    } finally {
      payments.close();
      billing.close();
    }
  });
});

/** What a refused message of a stream says stands in its answer. */
function summary(answer: RawAnswer, isStream: boolean): string {
  if (isStream && answer.ok !== undefined) {
    const response = codec<object, { error?: { code: number } }>('lastmile.v1.SignStreamResponse').decode(
      answer.ok,
    );
    if (response.error) return `${response.error.code} POLICY_DENIED`;
  }
  return answer.reason === '' ? `${answer.code}` : `${answer.code} ${answer.reason}`;
}

function told({ code, reason, message: text, metadata, performed }: Awaited<ReturnType<typeof refusal>>) {
  return { code, reason, text, metadata, performed };
}

describe('a key that is not there and one that is not the caller’s', () => {
  const requests: Readonly<Record<string, (key: string) => object>> = {
    Sign: (key) => ({ key, algorithm: 'ES256', message }),
    Verify: (key) => ({ key, algorithm: 'ES256', message, signature: Buffer.alloc(64, 1) }),
    Encrypt: (key) => ({ key, plaintext: message }),
    Mac: (key) => ({ key, message }),
    VerifyMac: (key) => ({ key, message, mac: Buffer.alloc(32) }),
    GenerateDataKey: (key) => ({ key }),
    GetPublicKey: (key) => ({ key }),
    Decrypt: (key) => ({ key, ciphertext: Buffer.alloc(60, 1) }),
  };

  it.each(Object.keys(requests))('look the same to %s', async (name) => {
    const path = `/lastmile.v1.KeyUse/${name}`;
    const { encode } = codec<object, object>(`lastmile.v1.${name}Request`);
    const answers: RawAnswer[] = [];
    // Somebody else's, one in the caller's own folder that nobody made, nobody's, and the log's own.
    for (const key of ['billing/invoices', 'payments/none', 'nobody/none', 'lastmile/log']) {
      answers.push(await rawCall(onWorkloads, path, encode(requests[name]!(key))));
    }
    expect(answers[0]).toMatchObject({ code: PERMISSION_DENIED, reason: 'POLICY_DENIED' });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  it('look the same to whoever has a rule for all names below a folder', async () => {
    const client = rawClient(instance, 'billing', 'target');
    try {
      const { encode } = codec<object, object>('lastmile.v1.SignRequest');
      const sign = (key: string): Promise<RawAnswer> =>
        rawCall(client, '/lastmile.v1.KeyUse/Sign', encode({ key, algorithm: 'ES256', message, version: 0 }));
      expect((await sign('billing/invoices')).code).toBe(OK);
      const absent = await sign('billing/none');
      expect(absent).toMatchObject({ code: PERMISSION_DENIED, reason: 'POLICY_DENIED' });
      expect(await sign('payments/jwt')).toEqual(absent);
    } finally {
      client.close();
    }
  });

  it('an absent version is refused like an absent key', async () => {
    const { encode } = codec<object, object>('lastmile.v1.SignRequest');
    const sign = (key: string, version: number): Promise<RawAnswer> =>
      rawCall(onWorkloads, '/lastmile.v1.KeyUse/Sign', encode({ key, version, algorithm: 'ES256', message }));
    expect(await sign('payments/jwt', 7)).toEqual(await sign('billing/invoices', 7));
  });
});
