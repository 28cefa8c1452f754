import { createPublicKey, hash, verify } from 'node:crypto';
import { decodeBase64, encodeBase64, equalHashes, TlogError } from './hash.ts';

/** Signed notes (c2sp.org/signed-note) with Ed25519 keys, signature type 0x01. */
export interface VerifierKey {
  readonly name: string;
  /** First four bytes of SHA-256(name, 0x0A, type, public key). */
  readonly noteKeyId: Uint8Array;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
}

export interface NoteSignature {
  readonly name: string;
  readonly noteKeyId: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Note {
  /** What is signed; ends with a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

const ED25519 = 0x01;
const MAX_NOTE_BYTES = 1024 * 1024;
const MAX_SIGNATURES = 100;
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');
// U+2014, as the specification writes signature lines.
const DASH = '\u2014';

export function isKeyName(name: string): boolean {
  return name !== '' && name.isWellFormed() && !/[\s+\p{Cc}]/u.test(name);
}

function noteKeyIdOf(name: string, publicKey: Uint8Array): Uint8Array {
  return hash(
    'sha256',
    Buffer.concat([Buffer.from(`${name}\n`), Uint8Array.of(ED25519), publicKey]),
    'buffer',
  ).subarray(0, 4);
}

/** @param publicKey raw Ed25519, 32 bytes */
export function makeVerifierKey(name: string, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name))
    throw new TlogError('a key name is not empty and has no space, no plus sign and no control character');
  if (publicKey.length !== 32) throw new TlogError('an Ed25519 public key has 32 bytes');
  return { name, noteKeyId: noteKeyIdOf(name, publicKey), publicKey };
}

/** `name+keyid+base64`, the vkey of the specification. */
export function formatVerifierKey(key: VerifierKey): string {
  const typed = encodeBase64(Buffer.concat([Uint8Array.of(ED25519), key.publicKey]));
  return `${key.name}+${Buffer.from(key.noteKeyId).toString('hex')}+${typed}`;
}

export function parseVerifierKey(vkey: string): VerifierKey {
  const match = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(vkey);
  if (match === null) throw new TlogError('a verifier key is name+id+base64');
  const [, name, id, encoded] = match;
  const typed = decodeBase64(encoded!);
  if (typed[0] !== ED25519 || typed.length !== 33) throw new TlogError('not an Ed25519 verifier key');
  const key = makeVerifierKey(name!, typed.subarray(1));
  if (Buffer.from(key.noteKeyId).toString('hex') !== id)
    throw new TlogError('the id of the verifier key is not its hash');
  return key;
}

export function formatNote(note: Note): string {
  if (!note.text.endsWith('\n')) throw new TlogError('the text of a note ends with a newline');
  let text = `${note.text}\n`;
  for (const { name, noteKeyId, signature } of note.signatures) {
    text += `${DASH} ${name} ${encodeBase64(Buffer.concat([noteKeyId, signature]))}\n`;
  }
  return text;
}

/** @throws TlogError for whatever is not a well-formed note; says nothing about its signatures */
export function parseNote(note: string): Note {
  if (note.length > MAX_NOTE_BYTES) throw new TlogError('note is larger than 1 MiB');
  if (!note.isWellFormed() || /[^\P{Cc}\n]/u.test(note)) throw new TlogError('note has a control character');
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) throw new TlogError('note has no signatures');
  const lines = note.slice(split + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw new TlogError('note has more than 100 signatures');
  const signatures = lines.map((line): NoteSignature => {
    const match = /^\u2014 (\S+) (\S+)$/u.exec(line);
    const name = match?.[1];
    if (match === null || name === undefined || !isKeyName(name))
      throw new TlogError('signature line is malformed');
    const bytes = decodeBase64(match[2]!);
    if (bytes.length < 5) throw new TlogError('signature line is too short');
    return { name, noteKeyId: bytes.subarray(0, 4), signature: bytes.subarray(4) };
  });
  return { text: note.slice(0, split + 1), signatures };
}

export function verifySignature(text: string, key: VerifierKey, signature: Uint8Array): boolean {
  const spki = createPublicKey({
    key: Buffer.concat([SPKI_ED25519, key.publicKey]),
    format: 'der',
    type: 'spki',
  });
  return signature.length === 64 && verify(null, Buffer.from(text), spki, signature);
}

/**
 * The keys that signed the note. Signatures of other keys are left alone.
 * @throws TlogError when a signature of one of `keys` is wrong, or none of them signed
 */
export function verifyNote(note: Note, keys: readonly VerifierKey[]): VerifierKey[] {
  const verified: VerifierKey[] = [];
  for (const { name, noteKeyId, signature } of note.signatures) {
    const key = keys.find((known) => known.name === name && equalHashes(known.noteKeyId, noteKeyId));
    if (key === undefined || verified.includes(key)) continue;
    if (!verifySignature(note.text, key, signature)) throw new TlogError(`the signature of ${name} is wrong`);
    verified.push(key);
  }
  if (verified.length === 0) throw new TlogError('no known key signed this note');
  return verified;
}
