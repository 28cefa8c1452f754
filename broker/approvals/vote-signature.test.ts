import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactSign, FlattenedSign } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApproverKey } from '../../policy/quorum.ts';
import { makePasskey, passkeyAssertion } from '../../test/fakes/passkey.ts';
import { skPublicKey, skSignature } from '../../test/fakes/ssh-sk.ts';
import { actDigest, JWS_TYPE, SSHSIG_NAMESPACE, type VoteSignature } from './act.ts';
import { spkiOf, VoteFormatError, verifyVote } from './vote-signature.ts';

const DOCUMENT = '{"act":"one"}';
const OTHER = '{"act":"two"}';
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastmile-sshsig-'));
  writeFileSync(join(directory, 'document'), DOCUMENT);
});
afterAll(() => rmSync(directory, { recursive: true }));

const keygen = (...argv: string[]): void => {
  execFileSync('ssh-keygen', ['-q', ...argv], { cwd: directory, stdio: 'pipe' });
};

/** `ssh-keygen -Y sign`: its armored signature, and the line that would be enrolled. */
function sshSign(
  name: string,
  type: readonly string[],
  options: readonly string[] = [],
  namespace = SSHSIG_NAMESPACE,
): [VoteSignature, ApproverKey] {
  rmSync(join(directory, 'document.sig'), { force: true });
  rmSync(join(directory, name), { force: true });
  keygen('-t', ...type, '-N', '', '-f', name);
  keygen('-Y', 'sign', ...options, '-n', namespace, '-f', name, 'document');
  const line = readFileSync(join(directory, `${name}.pub`), 'utf8').trim();
  return [
    { method: 'sshsig', signature: readFileSync(join(directory, 'document.sig'), 'utf8') },
    { method: 'sshsig', publicKey: line },
  ];
}

const verify = (signature: VoteSignature, key: ApproverKey, document = DOCUMENT) =>
  verifyVote(signature, key, document, undefined);

describe('ssh-keygen -Y sign', () => {
  it.each([
    ['ed25519', ['ed25519'], []],
    ['ed25519 with sha256', ['ed25519'], ['-O', 'hashalg=sha256']],
    ['p256', ['ecdsa', '-b', '256'], []],
    ['p384', ['ecdsa', '-b', '384'], []],
    ['p521', ['ecdsa', '-b', '521'], []],
    ['rsa', ['rsa', '-b', '2048'], []],
    ['rsa with sha256', ['rsa', '-b', '3072'], ['-O', 'hashalg=sha256']],
  ])('verifies: %s', async (name, type, options) => {
    const [signature, key] = sshSign(name.replaceAll(' ', '-'), type, options);
    expect(await verify(signature, key)).toEqual({ presence: undefined });
    expect(await verify(signature, key, OTHER)).toBeUndefined();
    expect(spkiOf(key).length).toBeGreaterThan(40);
  });

  it('does not verify for another key, another namespace or another method', async () => {
    const [signature] = sshSign('a', ['ed25519']);
    const [, other] = sshSign('b', ['ed25519']);
    expect(await verify(signature, other)).toBeUndefined();
    expect(await verify(...sshSign('c', ['ed25519'], [], 'file'))).toBeUndefined();
    expect(await verify(signature, { method: 'jws', publicKey: '{}' })).toBeUndefined();
  });

  it('does not verify, or is refused, with any of its bytes changed', async () => {
    const [signature, key] = sshSign('flip', ['ecdsa', '-b', '256']);
    const lines = (signature as { signature: string }).signature.trim().split('\n');
    const blob = Buffer.from(lines.slice(1, -1).join(''), 'base64');
    for (let at = 0; at < blob.length; at++) {
      const changed = Buffer.from(blob);
      changed[at]! ^= 1;
      expect(await outcome(armor(changed), key), `byte ${at}`).not.toBe('verifies');
    }
    for (const length of [0, 1, 6, 10, blob.length - 1])
      expect(await outcome(armor(blob.subarray(0, length)), key)).toBe('refused');
    expect(await outcome(armor(Buffer.concat([blob, Buffer.from([0])])), key)).toBe('refused');
  });

  it('is read in its armor alone', async () => {
    const [signature, key] = sshSign('armor', ['ed25519']);
    const text = (signature as { signature: string }).signature;
    for (const bad of [
      text.replace('BEGIN', 'START'),
      text.replace('-----END SSH SIGNATURE-----', ''),
      text.replace('U1NI', 'U1N '),
      text.replace('\n', '\n*'),
      `${text}${'A'.repeat(5000)}`,
      '',
    ])
      await expect(verify({ method: 'sshsig', signature: bad }, key)).rejects.toThrow(VoteFormatError);
    expect(await verify({ method: 'sshsig', signature: text.replaceAll('\n', '\r\n') }, key)).toBeDefined();
  });

  it('takes no SHA-1 and no short RSA key', async () => {
    const [signature, key] = sshSign('rsa2', ['rsa', '-b', '2048']);
    const lines = (signature as { signature: string }).signature.trim().split('\n');
    const blob = Buffer.from(lines.slice(1, -1).join(''), 'base64').toString('latin1');
    const sha1 = blob.replace('\x00\x00\x00\x0crsa-sha2-512', '\x00\x00\x00\x07ssh-rsa');
    await expect(
      verify({ method: 'sshsig', signature: armor(Buffer.from(sha1, 'latin1')) }, key),
    ).rejects.toThrow(VoteFormatError);
    keygen('-t', 'rsa', '-b', '1024', '-N', '', '-f', 'short');
    const short = readFileSync(join(directory, 'short.pub'), 'utf8');
    await expect(verify(signature, { method: 'sshsig', publicKey: short })).rejects.toThrow('2048');
  });
});

describe('FIDO keys of SSH', () => {
  it.each(['ed25519', 'p256'] as const)('say whether somebody was there: %s', async (kind) => {
    const pair =
      kind === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key: ApproverKey = { method: 'sshsig', publicKey: skPublicKey(pair.publicKey, 'ssh:') };
    const made = (flags: number, message = DOCUMENT, application = 'ssh:'): VoteSignature => ({
      method: 'sshsig',
      signature: skSignature(pair, { application, namespace: SSHSIG_NAMESPACE, message, flags, counter: 7 }),
    });
    expect(await verify(made(5), key)).toEqual({
      presence: { userPresent: true, userVerified: true, counter: 7 },
    });
    expect(await verify(made(1), key)).toMatchObject({
      presence: { userPresent: true, userVerified: false },
    });
    expect(await verify(made(0), key)).toMatchObject({ presence: { userPresent: false } });
    expect(await verify(made(1, OTHER), key)).toBeUndefined();
    expect(await verify(made(1, DOCUMENT, 'ssh:other'), key)).toBeUndefined();
  });

  it('do not verify with flags or counter changed', async () => {
    const pair = generateKeyPairSync('ed25519');
    const key: ApproverKey = { method: 'sshsig', publicKey: skPublicKey(pair.publicKey, 'ssh:') };
    const text = skSignature(pair, {
      application: 'ssh:',
      namespace: SSHSIG_NAMESPACE,
      message: DOCUMENT,
      flags: 0,
      counter: 7,
    });
    const blob = Buffer.from(text.trim().split('\n').slice(1, -1).join(''), 'base64');
    for (let back = 1; back <= 5; back++) {
      const changed = Buffer.from(blob);
      changed[blob.length - back]! ^= 1;
      expect(await verify({ method: 'sshsig', signature: armor(changed) }, key)).toBeUndefined();
    }
  });
});

describe('JWS', () => {
  const pairs: readonly (readonly [string, { publicKey: KeyObject; privateKey: KeyObject }])[] = [
    ['EdDSA', generateKeyPairSync('ed25519')],
    ['Ed25519', generateKeyPairSync('ed25519')],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['ES384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['ES512', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
    ['PS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ];
  const enrolled = (publicKey: KeyObject, more = {}): ApproverKey => ({
    method: 'jws',
    publicKey: JSON.stringify({ ...publicKey.export({ format: 'jwk' }), ...more }),
  });
  const jws = (signature: string): VoteSignature => ({ method: 'jws', signature });
  const detached = async (alg: string, key: KeyObject, header = {}): Promise<string> => {
    const made = await new FlattenedSign(Buffer.from(DOCUMENT))
      .setProtectedHeader({ alg, typ: JWS_TYPE, b64: false, crit: ['b64'], ...header })
      .sign(key);
    return `${made.protected}..${made.signature}`;
  };
  const embedded = (alg: string, key: KeyObject, header = {}): Promise<string> =>
    new CompactSign(Buffer.from(DOCUMENT)).setProtectedHeader({ alg, typ: JWS_TYPE, ...header }).sign(key);

  it.each(pairs)('verifies: %s', async (alg, { publicKey, privateKey }) => {
    const key = enrolled(publicKey);
    const whole = await embedded(alg, privateKey);
    const [header, , signature] = whole.split('.');
    for (const form of [await detached(alg, privateKey), whole, `${header}..${signature}`]) {
      expect(await verify(jws(form), key)).toEqual({ presence: undefined });
      expect(await verify(jws(form), key, OTHER)).toBeUndefined();
    }
  });

  it('is of the type of approvals, by an asymmetric algorithm, with nothing else in its header', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = enrolled(publicKey);
    const header = (members: object): string => Buffer.from(JSON.stringify(members)).toString('base64url');
    const mac = await new CompactSign(Buffer.from(DOCUMENT))
      .setProtectedHeader({ alg: 'HS256', typ: JWS_TYPE })
      .sign(Buffer.from((key as { publicKey: string }).publicKey));
    for (const bad of [
      await embedded('ES256', privateKey, { typ: 'JWT' }),
      await embedded('ES256', privateKey, { jku: 'https://example.org' }),
      await embedded('ES256', privateKey, { jwk: publicKey.export({ format: 'jwk' }) }),
      mac,
      `${header({ alg: 'none', typ: JWS_TYPE })}..AAAA`,
      `${header({ typ: JWS_TYPE })}..AAAA`,
      'a.b',
      '..',
      'x'.repeat(50_000),
    ])
      await expect(verify(jws(bad), key), bad.slice(0, 80)).rejects.toThrow(VoteFormatError);
  });

  it('does not verify with another key, an algorithm that is not the key’s, or another payload in it', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    expect(await verify(jws(await embedded('PS256', privateKey)), enrolled(other.publicKey))).toBeUndefined();
    expect(
      await verify(jws(await embedded('PS256', privateKey)), enrolled(publicKey, { alg: 'RS256' })),
    ).toBeUndefined();
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect(await verify(jws(await embedded('PS256', privateKey)), enrolled(ec.publicKey))).toBeUndefined();
    const [header, , signature] = (await embedded('PS256', privateKey)).split('.');
    const swapped = `${header}.${Buffer.from(OTHER).toString('base64url')}.${signature}`;
    expect(await verify(jws(swapped), enrolled(publicKey))).toBeUndefined();
    expect(await verify(jws(swapped), enrolled(publicKey), OTHER)).toBeUndefined();
  });
});

describe('passkeys', () => {
  const party = { id: 'approvals.example.org', origins: ['https://approvals.example.org'] };
  const passkey = makePasskey();
  const key: ApproverKey = {
    method: 'webauthn',
    credentialId: passkey.credentialId,
    publicKey: passkey.publicKey,
  };
  const made = (options: Parameters<typeof passkeyAssertion>[1] = {}): VoteSignature => ({
    method: 'webauthn',
    ...passkeyAssertion(passkey, {
      challenge: actDigest(DOCUMENT),
      rpId: party.id,
      origin: party.origins[0]!,
      flags: 5,
      counter: 3,
      ...options,
    }),
  });
  const check = (signature: VoteSignature, document = DOCUMENT) =>
    verifyVote(signature, key, document, party);

  it('verify, and say who was there', async () => {
    expect(await check(made())).toEqual({ presence: { userPresent: true, userVerified: true, counter: 3 } });
    expect(await check(made({ flags: 1 }))).toMatchObject({ presence: { userVerified: false } });
    expect(await check(made({ flags: 0 }))).toMatchObject({ presence: { userPresent: false } });
    expect(createHash('sha256').update(spkiOf(key)).digest()).toEqual(
      createHash('sha256')
        .update(passkey.keys.publicKey.export({ type: 'spki', format: 'der' }))
        .digest(),
    );
  });

  it('do not verify for another act, page, host, kind of call, credential, or when nobody runs pages', async () => {
    expect(await check(made(), OTHER)).toBeUndefined();
    expect(await check(made({ origin: 'https://approvals.example.org.evil.example' }))).toBeUndefined();
    expect(await check(made({ rpId: 'example.org' }))).toBeUndefined();
    expect(await check(made({ type: 'webauthn.create' }))).toBeUndefined();
    expect(await check(made({ crossOrigin: true }))).toBeUndefined();
    expect(await check(made({ challenge: createHash('sha256').update(DOCUMENT).digest() }))).toBeUndefined();
    expect(
      await verifyVote(made(), { ...key, credentialId: 'AAAA' } as ApproverKey, DOCUMENT, party),
    ).toBeUndefined();
    expect(await verifyVote(made(), key, DOCUMENT, undefined)).toBeUndefined();
  });

  it('are refused when they are none', async () => {
    await expect(check({ ...made(), authenticatorData: 'AAAA' } as VoteSignature)).rejects.toThrow(
      VoteFormatError,
    );
    await expect(check({ ...made(), clientDataJson: 'AAAA' } as VoteSignature)).rejects.toThrow(
      VoteFormatError,
    );
    await expect(check({ ...made(), signature: '=' } as VoteSignature)).rejects.toThrow(VoteFormatError);
    await expect(check({ ...made(), signature: 'A'.repeat(9000) } as VoteSignature)).rejects.toThrow(
      VoteFormatError,
    );
  });
});

function armor(blob: Uint8Array): string {
  return `-----BEGIN SSH SIGNATURE-----\n${Buffer.from(blob).toString('base64')}\n-----END SSH SIGNATURE-----\n`;
}

async function outcome(signature: string, key: ApproverKey): Promise<'verifies' | 'does not' | 'refused'> {
  try {
    return (await verify({ method: 'sshsig', signature }, key)) === undefined ? 'does not' : 'verifies';
  } catch (error) {
    if (error instanceof VoteFormatError) return 'refused';
    throw error;
  }
}
