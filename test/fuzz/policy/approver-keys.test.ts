import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ApproverKeyError, readApproverKey } from '../../../policy/approver-key.ts';
import type { ApproverKey } from '../../../policy/quorum.ts';

const SSH = [
  'AAAAC3NzaC1lZDI1NTE5AAAAIAv3litxJdneUBB0SUCDCtRmMS1uHyWjI325OD2CtaVu',
  'AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBK8WK+atfXeDQkTMn6qFT26IwNHfXk6WC9+iIR5CBzq83fhCq5aQzmhsBGenE4QtAWPHf9c/oCIQywmODmb3EA4=',
].map((line) => Buffer.from(line, 'base64'));
const COSE = Buffer.from('pAEBAycgBiFYIPHF-NVmlxdGlUWzqTlPlLnthCxQrwsUT72WdQWQ8JX5', 'base64url');

/** A key with some of its bytes changed, cut off or added. */
const changed = (originals: readonly Buffer[]): fc.Arbitrary<Buffer> =>
  fc
    .tuple(
      fc.constantFrom(...originals),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
      fc.integer({ min: -40, max: 40 }),
    )
    .map(([original, edits, length]) => {
      const bytes = Buffer.alloc(Math.max(0, original.length + length));
      original.copy(bytes);
      for (const [at, value] of edits) if (bytes.length > 0) bytes[at % bytes.length] = value;
      return bytes;
    });
const type = fc.constantFrom(
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ssh-rsa',
  'sk-ssh-ed25519@openssh.com',
  '',
);
const member = fc.oneof(
  fc.string(),
  fc.constantFrom('OKP', 'EC', 'RSA', 'Ed25519', 'P-256', 'constructor'),
  fc.anything(),
);

const key: fc.Arbitrary<ApproverKey> = fc.oneof(
  fc.tuple(type, fc.oneof(changed(SSH), fc.uint8Array({ maxLength: 200 }))).map(
    ([name, blob]): ApproverKey => ({
      method: 'sshsig',
      publicKey: `${name} ${Buffer.from(blob).toString('base64')}`,
    }),
  ),
  fc
    .oneof(
      fc.dictionary(
        fc.constantFrom('kty', 'crv', 'x', 'y', 'n', 'e', 'd', 'alg', 'use', '__proto__'),
        member,
      ),
      fc.anything(),
    )
    .map((jwk): ApproverKey => ({ method: 'jws', publicKey: safeJson(jwk) })),
  fc.string().map((publicKey): ApproverKey => ({ method: 'jws', publicKey })),
  fc.tuple(fc.oneof(changed([COSE]), fc.uint8Array({ maxLength: 100 })), fc.string()).map(
    ([cose, id]): ApproverKey => ({
      method: 'webauthn',
      publicKey: Buffer.from(cose).toString('base64url'),
      credentialId: id,
    }),
  ),
);

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'undefined';
  } catch (error) {
    // Values of fast-check that JSON has no word for.
    if (error instanceof TypeError) return '{}';
    throw error;
  }
}

it('keys of approvers are read or refused, whatever they hold, and what is read is read the same again', () => {
  fc.assert(
    fc.property(key, (one) => {
      let read: ReturnType<typeof readApproverKey>;
      try {
        read = readApproverKey(one);
      } catch (error) {
        expect(error).toBeInstanceOf(ApproverKeyError);
        return;
      }
      expect(readApproverKey(read.key)).toEqual(read);
    }),
    { numRuns: 5000 },
  );
});
