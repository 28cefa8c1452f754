import { describe, expect, test } from 'vitest';
import { Call, type Caller } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';
import type { TypedRequest } from '../typed/typed-request.ts';
import { typedHandlers } from './typed-handlers.ts';

const CALLER = {} as Caller;
const LOG = { origin: 'example.org/log', leafIndex: 3 };

/** Key use that records what it is asked, and signs with its name. */
class RecordingKeyUse {
  readonly signed: TypedRequest[] = [];
  readonly refused: { operation: string; key: string; reason: string }[] = [];
  readonly profiles: string[] = [];
  readonly #mayAsk: boolean;

  constructor(mayAsk: boolean) {
    this.#mayAsk = mayAsk;
  }

  mayAskFor(): boolean {
    return this.#mayAsk;
  }

  async signTyped(_caller: Caller, _call: Call, request: TypedRequest) {
    this.signed.push(request);
    return { result: Buffer.from('result'), version: 2, leafIndex: LOG.leafIndex };
  }

  async refuseTyped(
    _caller: Caller,
    _call: Call,
    asked: { readonly operation: string; readonly key: string },
    failure: Failure,
  ): Promise<Failure> {
    this.refused.push({ operation: asked.operation, key: asked.key, reason: failure.reason });
    return failure;
  }

  run(method: 'SignJwt' | 'SignCertificate' | 'SignDsse', request: object): Promise<Uint8Array> {
    const handlers = typedHandlers(
      this,
      {
        profileOf: (id) => {
          this.profiles.push(id);
          return undefined;
        },
        now: () => 5000,
      },
      () => LOG,
    );
    const payload = codec<object, object>(`lastmile.v1.${method}Request`).encode(request);
    return handlers[method](CALLER, new Call(performance.now() + 60_000), payload);
  }
}

describe('a typed request', () => {
  test('becomes what its type says, with the time of the broker', async () => {
    const keyUse = new RecordingKeyUse(true);
    const answer = await keyUse.run('SignJwt', {
      key: 'k',
      version: 4,
      claims: Buffer.from('{"sub":"a"}'),
      lifetimeSeconds: 60,
    });
    expect(codec<object, object>('lastmile.v1.SignJwtResponse').decode(answer)).toMatchObject({
      jwt: 'result',
      version: 2,
      log: LOG,
    });
    expect(keyUse.signed).toMatchObject([
      { operation: 'sign-jwt', key: 'k', version: 4, facts: { sub: 'a', iat: 5n, exp: 65n } },
    ]);
    expect(keyUse.refused).toEqual([]);
  });

  test.each([
    ['SignJwt', 'sign-jwt', { claims: Buffer.from('{"a":'), lifetimeSeconds: 1 }],
    ['SignDsse', 'sign-dsse', { payloadType: 'application/vnd.in-toto+json', payload: Buffer.from('{') }],
    ['SignCertificate', 'sign-certificate', { profile: 'none', csr: Buffer.from('0') }],
  ] as const)(
    'of %s that nothing can be made of is refused on record',
    async (method, operation, request) => {
      const keyUse = new RecordingKeyUse(true);
      await expect(keyUse.run(method, { key: 'k', ...request })).rejects.toMatchObject({
        reason: 'REQUEST_INVALID',
      });
      expect(keyUse.refused).toEqual([{ operation, key: 'k', reason: 'REQUEST_INVALID' }]);
      expect(keyUse.signed).toEqual([]);
    },
  );

  test.each([
    ['SignJwt', { claims: Buffer.from('{"a":'), lifetimeSeconds: 0 }],
    ['SignDsse', { payloadType: 'application/vnd.in-toto+json', payload: Buffer.alloc(500_000, '[') }],
    ['SignCertificate', { profile: 'none', csr: Buffer.from('0') }],
  ] as const)('of %s by somebody who may not ask at all is not even read', async (method, request) => {
    const keyUse = new RecordingKeyUse(false);
    await expect(keyUse.run(method, { key: 'k', ...request })).rejects.toMatchObject({
      reason: 'POLICY_DENIED',
    });
    expect(keyUse.refused).toHaveLength(1);
    expect(keyUse.profiles).toEqual([]);
    expect(keyUse.signed).toEqual([]);
  });

  test('without an applicant is refused', async () => {
    const keyUse = new RecordingKeyUse(true);
    await expect(keyUse.run('SignCertificate', { key: 'k', profile: 'p' })).rejects.toBeInstanceOf(Failure);
    expect(keyUse.profiles).toEqual(['p']);
  });
});
