import crypto from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ALGORITHMS,
  type Algorithm,
  type KeyPurpose,
  type KeySpec,
  type NewObject,
  type ObjectAttributes,
  type TokenAdapter,
} from '../../../hsm-adapters/adapter.ts';
import type { Profile } from '../../../hsm-adapters/profiles/profile.ts';
import { describeImports } from './describe-imports.ts';
import { describeReplication } from './describe-replication.ts';
import { failureOf, type ModuleUnderTest, type OpenToken, openToken, soon } from './module-under-test.ts';

/**
 * What every PKCS#11 module must do behind the product's own supervisor and worker. What its profile declares
 * missing must be missing: refused by name before the token is asked. Nothing is skipped.
 */
export interface AdapterUnderTest {
  readonly profile: Profile;
  /** How many tokens `start` makes. */
  readonly tokens: 1 | 2;
  /** The module lets a test put keys on it whose value the test knows. */
  readonly takesKnownKeys: boolean;
  start(): Promise<ModuleUnderTest>;
}

const SESSIONS = 3;
const MESSAGE = Buffer.from('what the token is asked to sign');
const AAD = Buffer.from('lastmile conformance');

export const newId = () => crypto.randomBytes(16).toString('hex');

export const SPECS: readonly (readonly [name: string, spec: KeySpec, purpose: KeyPurpose, Algorithm[]])[] = [
  ['P-256', { type: 'ec', curve: 'P-256' }, 'sign', ['ES256']],
  ['P-384', { type: 'ec', curve: 'P-384' }, 'sign', ['ES384']],
  ['P-521', { type: 'ec', curve: 'P-521' }, 'sign', ['ES512']],
  ['Ed25519', { type: 'ed25519' }, 'sign', ['Ed25519']],
  [
    'RSA-2048',
    { type: 'rsa', modulusBits: 2048 },
    'sign',
    ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ],
  ['HMAC', { type: 'hmac', bytes: 64 }, 'mac', ['HS256', 'HS384', 'HS512']],
  ['AES-256', { type: 'aes', bytes: 32 }, 'encrypt', ['A256GCM']],
  ['RSA-2048 for OAEP', { type: 'rsa', modulusBits: 2048 }, 'encrypt', ['RSA-OAEP-256']],
];

export function kindOf(purpose: KeyPurpose, spec: KeySpec): 'private' | 'secret' {
  return spec.type === 'aes' || spec.type === 'hmac' || purpose === 'mac' ? 'secret' : 'private';
}

export function hashOf(algorithm: Algorithm): string {
  return `sha${algorithm.slice(-3)}`;
}

/** What the worker is given: the digest, but for Ed25519 and MACs. */
export function inputFor(algorithm: Algorithm, message: Buffer): Buffer {
  if (algorithm === 'Ed25519' || algorithm.startsWith('HS')) return message;
  return crypto.createHash(hashOf(algorithm)).update(message).digest();
}

export function verifies(
  algorithm: Algorithm,
  publicKey: Uint8Array,
  message: Buffer,
  signature: Uint8Array,
): boolean {
  const key = crypto.createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
  if (algorithm === 'Ed25519') return crypto.verify(null, message, key, signature);
  const options = algorithm.startsWith('PS')
    ? {
        padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
        saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST,
      }
    : { dsaEncoding: 'ieee-p1363' as const };
  return crypto.verify(hashOf(algorithm), message, { key, ...options }, signature);
}

export function describeAdapter(under: AdapterUnderTest): void {
  const { profile } = under;
  const has = (algorithm: Algorithm) => !profile.lacks.includes(algorithm);
  const made = SPECS.filter(
    ([, spec, , algorithms]) => profile.makes.includes(spec.type) && algorithms.some(has),
  );
  const signing = made.flatMap(([, spec, purpose, algorithms]) =>
    algorithms
      .filter((algorithm) => has(algorithm) && purpose === 'sign')
      .map((algorithm) => [algorithm, spec] as const),
  );

  describe(`${profile.module} (profile ${profile.name})`, () => {
    let module: ModuleUnderTest | undefined;
    let first: OpenToken;
    let token: TokenAdapter;
    let nextRef = 1;

    beforeAll(async () => {
      module = await under.start();
      expect(module.tokens).toHaveLength(under.tokens);
      first = openToken(module, { ...module.tokens[0]!, sessions: SESSIONS });
      token = first.adapter;
      expect(await first.settles(), first.log.join('\n')).toBe('ready');
    });

    afterAll(async () => {
      await first?.adapter.close();
      await module?.stop();
    });

    async function make(spec: KeySpec, purpose: KeyPurpose, label?: string) {
      const ckaId = newId();
      const object: NewObject = { ckaId, label: label ?? `test/${ckaId}`, spec, purpose };
      const attributes = await token.administration.generate(object);
      const ref = nextRef;
      nextRef += 1;
      expect(await token.administration.bind(ref, { ckaId, kind: kindOf(purpose, spec) })).toEqual(
        attributes,
      );
      return { ref, ckaId, attributes };
    }

    function expectOwn(attributes: ObjectAttributes, purpose: KeyPurpose): void {
      expect(attributes).toMatchObject({
        usages: purpose === 'encrypt' ? ['encrypt', 'decrypt'] : ['sign', 'verify'],
        sensitive: true,
        extractable: false,
        neverExtractable: true,
        alwaysSensitive: true,
        local: true,
        modifiable: false,
        copyable: false,
        alwaysAuthenticate: false,
      });
    }

    it('is known by its serial and label, and lists what its profile says', () => {
      const config = module!.tokens[0]!;
      expect(token.info).toMatchObject({
        software: profile.software,
        sessions: SESSIONS,
        pinCountLow: false,
        pinFinalTry: false,
        pinLocked: false,
      });
      expect([token.info?.serial, token.info?.label]).toContain(config.serial ?? config.label);
      expect(token.info?.algorithms).toEqual(ALGORITHMS.filter(has));
    });

    it.each(made)('makes a %s key for its one purpose, never to leave', async (_name, spec, purpose) => {
      const { attributes } = await make(spec, purpose);
      expect(attributes.spec).toEqual(spec);
      expectOwn(attributes, purpose);
    });

    if (signing.length > 0)
      it.each(signing)('signs %s, which node:crypto verifies', async (algorithm, spec) => {
        const { ref, attributes } = await make(spec, 'sign');
        for (let round = 0; round < 3; round += 1) {
          const data = inputFor(algorithm, MESSAGE);
          const signature = await token.sign({ object: ref, algorithm, data }, soon());
          expect(verifies(algorithm, attributes.publicKey, MESSAGE, signature)).toBe(true);
        }
      });

    const macs = made.some(([, spec]) => spec.type === 'hmac');
    if (macs)
      it('makes MACs: of the right length, the same again, different for another message', async () => {
        const { ref } = await make({ type: 'hmac', bytes: 64 }, 'mac');
        for (const algorithm of ['HS256', 'HS384', 'HS512'] as const) {
          if (!has(algorithm)) continue;
          const mac = (data: Buffer) => token.sign({ object: ref, algorithm, data }, soon());
          const [once, again, other] = await Promise.all([mac(MESSAGE), mac(MESSAGE), mac(AAD)]);
          expect(once.length).toBe(Number(algorithm.slice(2)) / 8);
          expect(again).toEqual(once);
          expect(other).not.toEqual(once);
        }
      });

    if (has('A256GCM'))
      it('encrypts and opens on another session, and rejects what was altered', async () => {
        const { ref } = await make({ type: 'aes', bytes: 32 }, 'encrypt');
        const ivs = new Set<string>();
        const open = (iv: Uint8Array, sealed: Uint8Array, associatedData: Buffer, notSession?: number) =>
          token.decrypt(
            { object: ref, algorithm: 'A256GCM', iv, sealed, associatedData, notSession },
            soon(),
          );
        for (const bytes of [1, 1024, 65_536]) {
          const plaintext = crypto.randomBytes(bytes);
          const { iv, sealed, session } = await token.encrypt(ref, plaintext, AAD, soon());
          ivs.add(Buffer.from(iv).toString('hex'));
          expect(Buffer.from(await open(iv, sealed, AAD, session))).toEqual(plaintext);
          const altered = Uint8Array.from(sealed);
          altered[0]! ^= 1;
          expect(await failureOf(open(iv, altered, AAD))).toMatchObject({ reason: 'CIPHERTEXT_REJECTED' });
          const elsewhere = open(iv, sealed, Buffer.from('other'));
          expect(await failureOf(elsewhere)).toMatchObject({ reason: 'CIPHERTEXT_REJECTED' });
        }
        expect(ivs.size).toBe(3);
        expect(token.state).toBe('ready');
      });

    if (has('RSA-OAEP-256'))
      it('opens RSA-OAEP-256 that node:crypto made, and rejects what was altered', async () => {
        const { ref, attributes } = await make({ type: 'rsa', modulusBits: 2048 }, 'encrypt');
        const key = crypto.createPublicKey({
          key: Buffer.from(attributes.publicKey),
          format: 'der',
          type: 'spki',
        });
        const padding = crypto.constants.RSA_PKCS1_OAEP_PADDING;
        const seal = (oaepHash: string, bytes: Buffer) =>
          crypto.publicEncrypt({ key, oaepHash, padding }, bytes);
        const none = new Uint8Array(0);
        const open = (sealed: Uint8Array) =>
          token.decrypt(
            { object: ref, algorithm: 'RSA-OAEP-256', iv: none, sealed, associatedData: none },
            soon(),
          );
        for (const bytes of [1, 32, 190]) {
          const plaintext = crypto.randomBytes(bytes);
          expect(Buffer.from(await open(seal('sha256', plaintext)))).toEqual(plaintext);
        }
        for (const bad of [
          crypto.randomBytes(256).fill(0, 0, 1),
          seal('sha1', MESSAGE),
          seal('sha256', MESSAGE).subarray(1),
        ])
          expect(await failureOf(open(bad))).toMatchObject({ reason: 'CIPHERTEXT_REJECTED' });
        expect(Buffer.from(await open(seal('sha256', MESSAGE)))).toEqual(MESSAGE);
        expect(token.state).toBe('ready');
      });

    const refusedSpecs = SPECS.filter(([name]) => !made.some(([there]) => there === name));
    if (refusedSpecs.length > 0)
      it.each(refusedSpecs)('declares that it makes no %s key', async (_name, spec, purpose) => {
        const object = { ckaId: newId(), label: 'declared missing', spec, purpose };
        expect(await failureOf(token.administration.generate(object))).toMatchObject({
          reason: 'OPERATION_UNSUPPORTED',
          performed: 'no',
        });
      });

    it('refuses algorithms that its profile lacks, and those of another key, before the token is asked', async () => {
      const [, spec, purpose, own] = made.find(([, , use]) => use === 'sign')!;
      const { ref } = await make(spec, purpose);
      for (const algorithm of ALGORITHMS) {
        if (algorithm === 'A256GCM' || algorithm === 'RSA-OAEP-256') continue;
        if (own.includes(algorithm) && has(algorithm)) continue;
        const data = inputFor(algorithm, MESSAGE);
        expect(
          await failureOf(token.sign({ object: ref, algorithm, data }, soon())),
          algorithm,
        ).toMatchObject({
          reason: has(algorithm) ? 'KEY_UNUSABLE' : 'OPERATION_UNSUPPORTED',
          performed: 'no',
        });
      }
      const algorithm = own.find(has)!;
      for (const data of [Buffer.alloc(0), Buffer.alloc(31, 1), Buffer.alloc(65, 1)]) {
        if (algorithm === 'Ed25519' && data.length > 0) continue;
        expect(await failureOf(token.sign({ object: ref, algorithm, data }, soon()))).toMatchObject({
          reason: 'REQUEST_INVALID',
          performed: 'no',
        });
      }
      const unknown = token.sign({ object: 987_654, algorithm, data: inputFor(algorithm, MESSAGE) }, soon());
      expect(await failureOf(unknown)).toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN', performed: 'no' });
    });

    it('binds nothing that is missing or ambiguous, and names the candidates', async () => {
      const [, spec, purpose] = made[0]!;
      const kind = kindOf(purpose, spec);
      const missing = token.administration.bind(1_000_000, { ckaId: newId(), kind });
      expect(await failureOf(missing)).toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN', performed: 'no' });
      const label = `twice ${newId()}`;
      const [one, two] = [await make(spec, purpose, label), await make(spec, purpose, label)];
      const ambiguous = await failureOf(token.administration.bind(1_000_000, { label, kind }));
      expect(ambiguous).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'no' });
      for (const { ckaId } of [one, two]) expect(ambiguous?.message).toContain(ckaId);
      await token.administration.destroy({ ckaId: one.ckaId, kind });
      expect(await token.administration.bind(1_000_000, { label, kind })).toMatchObject({ ckaId: two.ckaId });
      const gone = token.administration.bind(1_000_001, { ckaId: one.ckaId, kind });
      expect(await failureOf(gone)).toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN' });
    });

    it('gives random bytes, never the same', async () => {
      const drawn = await Promise.all([16, 16, 64].map((bytes) => token.random(bytes, soon())));
      expect(drawn.map(({ length }) => length)).toEqual([16, 16, 64]);
      expect(Buffer.from(drawn[0]!)).not.toEqual(Buffer.from(drawn[1]!));
      expect(await failureOf(token.random(0, soon()))).toMatchObject({ reason: 'REQUEST_INVALID' });
    });

    it(`keeps to ${SESSIONS} sessions under load, and answers everything right`, async () => {
      const [algorithm, spec] = signing[0]!;
      const { ref, attributes } = await make(spec, 'sign');
      const data = inputFor(algorithm, MESSAGE);
      for (let round = 0; round < 4; round += 1) {
        const signatures = await Promise.all(
          Array.from({ length: SESSIONS * 4 }, () => token.sign({ object: ref, algorithm, data }, soon())),
        );
        for (const signature of signatures)
          expect(verifies(algorithm, attributes.publicKey, MESSAGE, signature)).toBe(true);
      }
      // Reported at most twice a second: whoever waits for one report sees what the load was.
      await expect.poll(() => first.mostSessions(), { timeout: 5_000 }).toBeGreaterThan(0);
      expect(first.mostSessions()).toBeLessThanOrEqual(SESSIONS);
    });

    describeReplication(under, () => ({ module: module!, source: token }));
    describeImports(under, () => ({ module: module!, token }));

    it('logs in again after its worker was killed: references are void, keys are found and good', async () => {
      const [algorithm, spec] = signing[0]!;
      const { ref, ckaId, attributes } = await make(spec, 'sign');
      const before = token.loginGeneration;
      const isBack = new Promise<void>((resolve) => {
        const leave = token.watch(({ state, loginGeneration }) => {
          if (state !== 'ready' || loginGeneration === before) return;
          leave();
          resolve();
        });
      });
      process.kill(token.worker!.pid, 'SIGKILL');
      await isBack;
      expect(token.loginGeneration).toBe(before + 1);
      const data = inputFor(algorithm, MESSAGE);
      expect(await failureOf(token.sign({ object: ref, algorithm, data }, soon()))).toMatchObject({
        reason: 'KEY_MISSING_ON_TOKEN',
        performed: 'no',
      });
      expect(await token.administration.bind(ref, { ckaId, kind: 'private' })).toEqual(attributes);
      const signature = await token.sign({ object: ref, algorithm, data }, soon());
      expect(verifies(algorithm, attributes.publicKey, MESSAGE, signature)).toBe(true);
      expect(first.ledger.events.filter((event) => event.startsWith('attempt'))).toHaveLength(before + 1);
    });

    it('spends one try on a wrong PIN, however often it is started', async () => {
      const config = module!.tokens[0]!;
      const wrong = join(config.directory, 'wrong-pin');
      writeFileSync(wrong, '8888888\n', { mode: 0o600 });
      const bad = { ...config, pin: { kind: 'file', path: wrong } as const };
      const before = module!.wrongPins?.();
      const opened = openToken(module!, bad);
      expect(await opened.settles()).toBe('blocked');
      for (let round = 0; round < 3; round += 1) {
        const again = openToken(module!, bad, opened.ledger);
        expect(await again.settles()).toBe('blocked');
        expect(again.adapter.advice).toContain('unblock');
        await again.adapter.close();
      }
      await opened.adapter.close();
      expect(opened.ledger.events.map((event) => event.split(' ')[0])).toEqual(['attempt', 'rejected']);
      if (before !== undefined) expect(module!.wrongPins?.()).toBe(before + 1);
      const right = openToken(module!, config);
      // One try is spent, and the token says so where it counts; it is not the last.
      expect(await right.settles(), right.adapter.advice).toBe('ready');
      expect(right.adapter.info).toMatchObject({
        pinCountLow: profile.pinFlagsReliable,
        pinFinalTry: false,
        pinLocked: false,
      });
      await right.adapter.close();
    });
  });
}
