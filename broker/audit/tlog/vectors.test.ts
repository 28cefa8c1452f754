import { generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatTreeHead, parseTreeHead } from './checkpoint.ts';
import { leafHash, TlogError } from './hash.ts';
import {
  formatNote,
  formatVerifierKey,
  makeVerifierKey,
  parseNote,
  parseVerifierKey,
  verifyNote,
} from './note.ts';
import { verifyConsistency, verifyInclusion } from './proof.ts';
import { formatTlogProof, parseTlogProof, verifyTlogProof } from './tlog-proof.ts';

const vectors = new URL('../../../../shared/vectors/merkle/', import.meta.url);
const hasVectors = existsSync(vectors);

interface Vector {
  readonly desc: string;
  readonly file: string;
  readonly proof: readonly string[] | null;
  readonly wantErr: boolean;
}
interface InclusionVector extends Vector {
  readonly leafIdx: number;
  readonly treeSize: number;
  readonly root: string;
  readonly leafHash: string;
}
interface ConsistencyVector extends Vector {
  readonly size1: number;
  readonly size2: number;
  readonly root1: string;
  readonly root2: string;
}

const bytes = (base64: string | null): Uint8Array => Buffer.from(base64 ?? '', 'base64');

describe.skipIf(!hasVectors)(
  'transparency-dev vectors (skipped where ../shared/vectors/merkle is absent)',
  () => {
    const load = <T extends Vector>(name: string): T[] =>
      hasVectors ? (JSON.parse(readFileSync(new URL(name, vectors), 'utf8')) as T[]) : [];

    it.each(load<InclusionVector>('inclusion.json'))('$file', (v) => {
      const proof = (v.proof ?? []).map(bytes);
      expect(verifyInclusion(v.leafIdx, v.treeSize, bytes(v.leafHash), bytes(v.root), proof)).toBe(
        !v.wantErr,
      );
    });
    it.each(load<ConsistencyVector>('consistency.json'))('$file', (v) => {
      const proof = (v.proof ?? []).map(bytes);
      expect(verifyConsistency(v.size1, v.size2, bytes(v.root1), bytes(v.root2), proof)).toBe(!v.wantErr);
    });
  },
);

// The example of c2sp.org/signed-note, and that of Go's golang.org/x/mod/sumdb/note.
const EXAMPLES = [
  {
    vkey: 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k',
    note: 'This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n',
  },
  {
    vkey: 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    note: "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
  },
];

describe('signed notes', () => {
  it.each(EXAMPLES)(
    'the published example of $vkey verifies and is written back byte for byte',
    ({ vkey, note }) => {
      const key = parseVerifierKey(vkey);
      expect(formatVerifierKey(key)).toBe(vkey);
      const parsed = parseNote(note);
      expect(verifyNote(parsed, [key])).toEqual([key]);
      expect(formatNote(parsed)).toBe(note);
    },
  );

  it.each(EXAMPLES)(
    'a changed text, a wrong signature of a known key and no known key are refused ($vkey)',
    ({ vkey, note }) => {
      const key = parseVerifierKey(vkey);
      expect(() => verifyNote(parseNote(note.replace('is', 'as')), [key])).toThrow('is wrong');
      const parsed = parseNote(note);
      const stranger = makeVerifierKey('stranger', key.publicKey);
      expect(() => verifyNote(parsed, [stranger])).toThrow('no known key');
      const alsoStrange = {
        ...parsed,
        signatures: [
          ...parsed.signatures,
          { name: 'other', noteKeyId: Buffer.alloc(4), signature: Buffer.alloc(8) },
        ],
      };
      expect(verifyNote(parseNote(formatNote(alsoStrange)), [key])).toEqual([key]);
    },
  );

  it.each([
    '',
    'text\n',
    'text\n\n',
    'text\n\nx y AAAAAAAA\n',
    'te\rxt\n\n\u2014 a AAAAAAAA\n',
    'text\n\n\u2014 a AAAAAAA\n',
    'text\n\n\u2014 a+b AAAAAAAA\n',
    'text\n\n\u2014 a AAAAAAAA',
  ])('refuses %j', (note) => expect(() => parseNote(note)).toThrow(TlogError));

  it.each([
    '',
    'a',
    'a+b',
    'x y+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k',
    'example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k',
    'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=',
  ])('refuses the verifier key %j', (vkey) => expect(() => parseVerifierKey(vkey)).toThrow(TlogError));
});

describe('checkpoints and receipts', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = makeVerifierKey(
    'log.example/a',
    publicKey.export({ format: 'der', type: 'spki' }).subarray(-32),
  );
  const entry = Buffer.from('the entry');
  const text = formatTreeHead({ origin: 'log.example/a', treeSize: 1, rootHash: leafHash(entry) });
  const checkpoint = formatNote({
    text,
    signatures: [
      { name: key.name, noteKeyId: key.noteKeyId, signature: sign(null, Buffer.from(text), privateKey) },
    ],
  });

  it('a receipt is read back as written, and verifies for its entry alone', () => {
    const written = formatTlogProof({ leafIndex: 0, hashes: [], checkpoint, extra: Buffer.from('more') });
    expect(written).toBe(`c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 0\n\n${checkpoint}`);
    const proof = parseTlogProof(written);
    expect(verifyTlogProof(proof, entry, key).treeSize).toBe(1);
    expect(() => verifyTlogProof(proof, Buffer.from('another'), key)).toThrow('not at that index');
    const otherOrigin = makeVerifierKey('log.example/b', key.publicKey);
    expect(() => verifyTlogProof(proof, entry, otherOrigin)).toThrow('no known key');
  });

  it.each([
    '',
    'c2sp.org/tlog-proof@v1\n\nx',
    'c2sp.org/tlog-proof@v2\nindex 0\n\nx',
    'c2sp.org/tlog-proof@v1\nindex -1\n\nx',
    'c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx',
  ])('refuses the receipt %j', (proof) => expect(() => parseTlogProof(proof)).toThrow(TlogError));

  it('a checkpoint tolerates extension lines and refuses what is not one', () => {
    expect(parseTreeHead(`${text}extension\n`)).toEqual(parseTreeHead(text));
    for (const bad of [
      '',
      'a\n1\n',
      'a\n01\nAAAA\n',
      `a\n9007199254740992\n${'A'.repeat(43)}=\n`,
      text.slice(0, -1),
      `${text}\nx\n`,
    ]) {
      expect(() => parseTreeHead(bad)).toThrow(TlogError);
    }
  });
});
