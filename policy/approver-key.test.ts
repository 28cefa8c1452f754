import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ApproverKeyError, readApproverKey } from './approver-key.ts';

/** Made by ssh-keygen. */
const SSH = {
  ed25519: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAv3litxJdneUBB0SUCDCtRmMS1uHyWjI325OD2CtaVu',
  p256: 'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBK8WK+atfXeDQkTMn6qFT26IwNHfXk6WC9+iIR5CBzq83fhCq5aQzmhsBGenE4QtAWPHf9c/oCIQywmODmb3EA4=',
  p384: 'ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBNyDM44dXDqIkSilxqXd6C2+94Yx7BdJRWHIm2+bOHniWncmQTbuVas3hhNCazoqnu5KLc5CTfy1AdTbBRrdZMw229BqfQRy3fRO/8KtRjTgyWt1WyVPN58C+k00Au5/Iw==',
  rsa: 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCm6AHS1Vj+IA+gjqOlwO2N+E2AS4m8TYgaU6z66j8w9k+iAjM9eaRUGX7k21+LO4UZw4tf+k76g3hXMgFweunYpfoI4Jg5mB+qtZjmEnDqnKz5ERoFbs9VQSLAX4T2FzEFSMHLW5dJeN2Ky2WCLm6nZR3we8S0R4Y84ShA7Llk1wdm5WJho35htFyNCdmTUZrLjvRYCwyM1wMcWVRqbwj2kYz2i3NZSLU5Lg/6RfRZ4LRGzhvRqTr08Cb6J7EEAevOPW+34IKI+PZDNV48MbSR4260hTNzz7M1xYLYmUDjEV+u09z12kdA0rcRZw+y+ZjOg6eS3YY282EAjxP89whN',
  dsa: 'ssh-dss AAAAB3NzaC1kc3MAAACBAKMoRAmkuE81SI/GVLzLkvHp8EELaPRpNGjRKduD8uY7hl6hNHmmuVGZvUT/ufe5gYnENvboSuz8tUL5ZDrK0sLJikEpDQlgsXvBMgG5w1ATVQQ0XVciQ4V4VDVPXhK1Xd4Da1VpUxlS+KIauBw2I3GW9p+lfq+dUnJ1XIfUqVnZAAAAFQCuTPAalNId/SkPFf0+ZKznGA60vQAAAIAgzBur3wA+6S77WrT7zZ8nD3OscNX74130IqeKCM5y+43x+Ia9dAa+b4RWXkPsdshGcIMiXA4MIiUAyoVsxijyNjdnBmc2UecqfPRlda2hbUizA8sU0ZYADtPyfqQcvphEKvg76RJtmHoheKCNZNoZFJ0huAd6LZSPJuRBWwMXAgAAAIEAl8ZrbqQ0aqS5ApZCOGNYHUM1bALNeKhvMcpGjHUeuzulfZdxWo1ADWG9kyeZrep8bTh3VlhkIOJFxW4327mKRmOkvRj6LpufwrRb8wOlColtC32e9YurkgE4MyliQBdP4wNNxdyzBZAbBZP4a3Apf/yhKHxTGIz9hEdBSsAHGMQ=',
};

const text = (value: string): Buffer => Buffer.from(value);
const field = (value: Uint8Array): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(value.length);
  return Buffer.concat([length, value]);
};
const sshLine = (type: string, ...fields: Uint8Array[]): string =>
  `${type} ${Buffer.concat([text(type), ...fields].map(field)).toString('base64')}`;
const cbor = (members: Readonly<Record<number, number | Uint8Array>>): string => {
  const head = (type: number, value: number): Buffer =>
    value < 24
      ? Buffer.from([(type << 5) | value])
      : value < 256
        ? Buffer.from([(type << 5) | 24, value])
        : Buffer.from([(type << 5) | 25, value >> 8, value & 255]);
  const whole = (value: number): Buffer => (value < 0 ? head(1, -1 - value) : head(0, value));
  const parts = Object.entries(members).flatMap(([label, value]) => [
    whole(Number(label)),
    ...(typeof value === 'number' ? [whole(value)] : [head(2, value.length), value]),
  ]);
  return Buffer.concat([head(5, Object.keys(members).length), ...parts]).toString('base64url');
};
const bytes = (encoded: string | undefined): Buffer => Buffer.from(encoded ?? '', 'base64url');

const ssh = (publicKey: string) => readApproverKey({ method: 'sshsig', publicKey });
const jws = (jwk: object) => readApproverKey({ method: 'jws', publicKey: JSON.stringify(jwk) });
const passkey = (publicKey: string, credentialId = 'AQID') =>
  readApproverKey({ method: 'webauthn', publicKey, credentialId });

const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
const point = (jwk: { x?: string; y?: string }): Buffer =>
  Buffer.concat([Buffer.from([4]), bytes(jwk.x), bytes(jwk.y)]);

describe('keys of ssh-keygen', () => {
  it.each([
    ['ed25519', 'Ed25519:'],
    ['p256', 'P-256:'],
    ['p384', 'P-384:'],
    ['rsa', 'RSA:'],
  ] as const)('%s', (name, kind) => {
    const { key, identity } = ssh(`${SSH[name]} somebody@laptop`);
    expect(key).toEqual({ method: 'sshsig', publicKey: SSH[name] });
    expect(identity.startsWith(kind)).toBe(true);
  });

  it('refuses DSA', () => expect(() => ssh(SSH.dsa)).toThrow('of a type that cannot approve'));
});

describe('one private key is one identity', () => {
  it('in SSH, FIDO, JWK and COSE form', () => {
    const same = [
      ssh(sshLine('ecdsa-sha2-nistp256', text('nistp256'), point(p256))),
      ssh(sshLine('sk-ecdsa-sha2-nistp256@openssh.com', text('nistp256'), point(p256), text('ssh:'))),
      jws(p256),
      jws({ ...p256, kid: 'other', alg: 'ES256', use: 'sig' }),
      passkey(cbor({ 1: 2, 3: -7, [-1]: 1, [-2]: bytes(p256.x), [-3]: bytes(p256.y) })),
    ];
    expect(new Set(same.map(({ identity }) => identity)).size).toBe(1);
    const other = [
      ssh(sshLine('ssh-ed25519', bytes(ed25519.x))),
      ssh(sshLine('sk-ssh-ed25519@openssh.com', bytes(ed25519.x), text('ssh:'))),
      jws(ed25519),
      passkey(cbor({ 1: 1, 3: -8, [-1]: 6, [-2]: bytes(ed25519.x) })),
    ];
    expect(new Set(other.map(({ identity }) => identity)).size).toBe(1);
    const third = [
      ssh(sshLine('ssh-rsa', bytes(rsa.e), Buffer.concat([Buffer.from([0]), bytes(rsa.n)]))),
      jws(rsa),
      jws({ ...rsa, n: Buffer.concat([Buffer.alloc(2), bytes(rsa.n)]).toString('base64url') }),
      jws({ ...rsa, e: 'Aw' }),
      passkey(cbor({ 1: 3, 3: -257, [-1]: bytes(rsa.n), [-2]: bytes(rsa.e) })),
    ];
    expect(new Set(third.map(({ identity }) => identity)).size).toBe(1);
  });

  it('with the point or its negative', () => {
    const P = (1n << 256n) - (1n << 224n) + (1n << 192n) + (1n << 96n) - 1n;
    const y = P - BigInt(`0x${bytes(p256.y).toString('hex')}`);
    const negative = {
      ...p256,
      y: Buffer.from(y.toString(16).padStart(64, '0'), 'hex').toString('base64url'),
    };
    expect(jws(negative).identity).toBe(jws(p256).identity);
    const x = bytes(ed25519.x);
    x[31] = x[31]! ^ 0x80;
    expect(jws({ ...ed25519, x: x.toString('base64url') }).identity).toBe(jws(ed25519).identity);
  });
});

it('keeps of a JWK what belongs to the key', () => {
  const { key } = jws({ ...ed25519, kid: 'anna', alg: 'EdDSA', comment: '…' });
  expect(JSON.parse(key.publicKey)).toEqual({ kty: 'OKP', crv: 'Ed25519', x: ed25519.x, alg: 'EdDSA' });
});

describe('refuses', () => {
  const jwk = ed25519;
  it.each<[string, () => unknown, string]>([
    ['a private JWK', () => jws({ ...jwk, d: 'AAAA' }), 'holds a secret'],
    ['a shared secret', () => jws({ kty: 'oct', k: 'AAAA' }), 'holds a secret'],
    ['a secret of no value', () => jws({ kty: 'oct', alg: 'HS256' }), 'of a type that cannot approve'],
    ['no key', () => jws([]), 'is no JWK'],
    ['no JSON', () => readApproverKey({ method: 'jws', publicKey: '{' }), 'is no JWK'],
    ['a key for agreement', () => jws({ kty: 'OKP', crv: 'X25519', x: jwk.x }), 'does not sign'],
    ['a key for encryption', () => jws({ ...jwk, use: 'enc' }), 'is not for signatures'],
    ['another algorithm', () => jws({ ...p256, alg: 'ES384' }), '`alg` that does not fit'],
    ['no algorithm', () => jws({ ...jwk, alg: 'none' }), '`alg` that does not fit'],
    ['another curve', () => jws({ ...p256, crv: 'secp256k1' }), 'on a curve other than'],
    ['a curve of no such name', () => jws({ ...p256, crv: 'constructor' }), 'P-521'],
    ['a short coordinate', () => jws({ ...p256, x: 'AAAA' }), 'is no point of P-256'],
    ['padding', () => jws({ ...jwk, x: `${jwk.x}=` }), 'not in base64url'],
    ['a key that anybody can sign for', () => jws({ ...jwk, x: `AQ${'A'.repeat(41)}` }), 'anybody can sign'],
    [
      'a short RSA key',
      () => jws({ ...rsa, n: bytes(rsa.n).subarray(0, 128).toString('base64url') }),
      '1024 bits',
    ],
    ['an exponent of 1', () => jws({ ...rsa, e: 'AQ' }), 'is no RSA key that can be used'],
    ['an even modulus', () => jws({ ...rsa, n: `${'A'.repeat(342).replace('A', '_')}` }), 'RSA key'],
    ['options of authorized_keys', () => ssh(`no-pty ${SSH.ed25519}`), 'is no line of a public key file'],
    ['two lines', () => ssh(`${SSH.ed25519}\n${SSH.p256}`), 'must be one line'],
    ['another type in front', () => ssh(SSH.ed25519.replace('ssh-ed25519', 'ssh-rsa')), 'another type than'],
    ['a certificate', () => ssh(sshLine('ssh-ed25519-cert-v01@openssh.com', bytes(jwk.x))), 'cannot approve'],
    ['something after the key', () => ssh(sshLine('ssh-ed25519', bytes(jwk.x), text('x'))), 'more in it'],
    ['half a key', () => ssh(SSH.p256.slice(0, 80)), 'is cut short'],
    [
      'a FIDO key of nothing',
      () => ssh(sshLine('sk-ssh-ed25519@openssh.com', bytes(jwk.x), text(''))),
      'without',
    ],
    ['no COSE key', () => passkey('AAAA'), 'is no COSE key'],
    ['something after a COSE key', () => passkey(`${cbor({ 1: 2 })}AA`), 'has more in it'],
    ['a member twice', () => passkey('ogECAQI'), 'gives something twice'],
    ['half a COSE key', () => passkey(cbor({ 1: 1, [-2]: bytes(jwk.x) }).slice(0, 20)), 'is cut short'],
    [
      'a passkey of another algorithm',
      () => passkey(cbor({ 1: 2, 3: -47, [-1]: 8, [-2]: bytes(p256.x), [-3]: bytes(p256.y) })),
      'another algorithm',
    ],
    ['an empty credential id', () => passkey(cbor({ 1: 1 }), ''), 'credential id'],
  ])('%s', (_, read, message) => {
    expect(read).toThrow(ApproverKeyError);
    expect(read).toThrow(message);
  });

  it('without quoting anything of the key', () => {
    const secret = 'c2VjcmV0LXNlY3JldA';
    let told = '';
    try {
      jws({ ...ed25519, d: secret, x: secret });
    } catch (error) {
      told = String(error);
    }
    expect(told).toContain('holds a secret');
    expect(told).not.toContain(secret);
  });
});
