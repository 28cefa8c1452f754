import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  API,
  callerOf,
  callFor,
  failureOf,
  KeyUseFixture,
  policyOf,
} from '../../test/fakes/key-use-fixture.ts';
import type { TypedRequest } from '../typed/typed-request.ts';

/** A key that a rule of typed signing names signs bare bytes only if the catalog says so. */

const RAW = `  - id: raw
    workloads: ["${API}"]
    keys: ["app/**"]
    operations: [sign]
`;
const TYPED = `  - id: typed
    workloads: ["${API}"]
    keys: ["app/**"]
    operations: [sign-jwt]
`;
const DENIED = { reason: 'POLICY_DENIED', message: 'the policy does not allow this', performed: 'no' };

let fixture: KeyUseFixture;

beforeEach(() => {
  fixture = new KeyUseFixture(['one']);
  fixture.policy = policyOf(`version: 1\nrules:\n${RAW}${TYPED}`);
});
afterEach(() => fixture.close());

function create(rawSigning: boolean, algorithm = 'ES256') {
  return fixture.administration.create({
    key: 'app/k',
    purpose: '',
    algorithms: [algorithm],
    tokens: [],
    modulusBits: 0,
    verify: '',
    rawSigning,
  });
}

const sign = (kind: 'message' | 'digest') =>
  fixture.keyUse.sign(callerOf(), callFor(), {
    key: 'app/k',
    version: 0,
    algorithm: 'ES256',
    content: { kind, bytes: Buffer.alloc(32, 1) },
    der: false,
  });

describe.each(['message', 'digest'] as const)('a bare %s for a key of a typed rule', (kind) => {
  it('is refused without asking the token', async () => {
    await create(false);
    // The proof of the new key is a signature, too.
    fixture.forgetWhatWas();
    expect(await failureOf(sign(kind))).toMatchObject(DENIED);
    expect(fixture.token.count('sign')).toBe(0);
  });

  it('is signed when the catalog says so', async () => {
    const version = await create(true);
    expect(version.rawSigning).toBe(true);
    expect((await sign(kind)).signature).toHaveLength(64);
  });
});

describe('a policy that begins to name the key while an operation waits', () => {
  it.each([
    [false, 'stops it'],
    [true, 'lets it pass where the catalog says so'],
  ])('rawSigning %s: %s', async (rawSigning) => {
    fixture.policy = policyOf(`version: 1\nrules:\n${RAW}`);
    await create(rawSigning);
    fixture.token.capacity = 1;
    const gate = fixture.token.hold('sign');
    const running = Array.from({ length: 4 }, () => sign('message'));
    await gate.reached;
    const waiting = sign('digest').then(
      () => 'signed',
      (error: { reason: string }) => error.reason,
    );
    fixture.policy = policyOf(`version: 1\nrules:\n${RAW}${TYPED}`, 'sha256:second');
    gate.release();
    await Promise.all(running);
    expect(await waiting).toBe(rawSigning ? 'signed' : 'POLICY_DENIED');
  });
});

it('raw signing is for keys that sign', async () => {
  expect(await failureOf(create(true, 'A256GCM'))).toMatchObject({
    reason: 'REQUEST_INVALID',
    message: 'raw_signing is for keys that sign',
  });
});

describe('a typed request whose making the policy has changed since', () => {
  it.each(['before it is decided', 'while it waits'])('is refused, %s', async (when) => {
    await create(false);
    fixture.forgetWhatWas();
    let stands = when !== 'before it is decided';
    const request = (text: string): TypedRequest => ({
      operation: 'sign-jwt',
      key: 'app/k',
      version: 0,
      algorithm: 'ES256',
      type: 'jwt',
      facts: {},
      stands: () => stands,
      build: async () => ({
        content: { kind: 'message', bytes: Buffer.from(text) },
        finish: (signature) => signature,
      }),
    });
    const signTyped = (text: string) => fixture.keyUse.signTyped(callerOf(), callFor(), request(text));
    if (!stands) {
      expect(await failureOf(signTyped('one'))).toMatchObject(DENIED);
      expect(fixture.token.count('sign')).toBe(0);
      return;
    }
    fixture.token.capacity = 1;
    const gate = fixture.token.hold('sign');
    const running = Array.from({ length: 4 }, (_, i) => signTyped(`running ${i}`));
    await gate.reached;
    const waiting = failureOf(signTyped('waiting'));
    stands = false;
    fixture.policy = policyOf(`version: 1\nrules:\n${RAW}${TYPED}`, 'sha256:second');
    gate.release();
    await Promise.all(running);
    expect(await waiting).toMatchObject(DENIED);
  });
});
