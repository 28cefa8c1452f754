import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatVerifierKey, makeVerifierKey, parseVerifierKey } from '../../../broker/audit/tlog/note.ts';
import { parseTlogProof, verifyTlogProof } from '../../../broker/audit/tlog/tlog-proof.ts';
import { verifyLog } from '../../../broker/audit/tlog/verify-log.ts';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { BILLING, operator, PAYMENTS, query, refusal, workload } from '../../fakes/instance-clients.ts';

/** The log can be checked without the broker and without its code, and what was changed in it is found. */

const message = Buffer.from('an order of 17 pieces');

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;

beforeAll(async () => {
  instance = await startInstance();
  admin = await operator(instance);
  client = await workload(instance, 'payments');
  // Of several kinds and subjects, and more than one tile's smallest subtree.
  await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from(`order ${i}`) }),
    ),
  );
  await client.encrypt({ key: 'payments/data', plaintext: message });
  await refusal(client.sign({ key: 'billing/invoices', algorithm: 'ES256', message }));
});

afterAll(async () => {
  client?.close();
  admin?.close();
  await instance?.stop();
});

const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

/** RFC 6962, section 2.1, as it stands there. */
function merkleTreeHash(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 1) return sha256(Buffer.of(0), leaves[0]!);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.of(1), merkleTreeHash(leaves.slice(0, split)), merkleTreeHash(leaves.slice(split)));
}

/** What a verifier key (C2SP signed-note) says of a checkpoint; nothing here is the product's code. */
function readCheckpoint(note: string, verifierKey: string) {
  // The key itself may hold a plus.
  const [, name, key] = /^([^+]+)\+[0-9a-f]{8}\+(.+)$/.exec(verifierKey.trim()) as unknown as string[];
  if (name === undefined || key === undefined) throw new Error('not a verifier key');
  const split = note.indexOf('\n\n') + 1;
  const text = note.slice(0, split);
  const line = note
    .slice(split + 1)
    .split('\n')
    .find((candidate) => candidate.startsWith(`— ${name} `))!;
  const signature = Buffer.from(line.split(' ')[2]!, 'base64').subarray(4);
  const spki = Buffer.concat([
    Buffer.from('302a300506032b6570032100', 'hex'),
    Buffer.from(key, 'base64').subarray(1),
  ]);
  const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  const [origin, size, root] = text.split('\n') as [string, string, string];
  return {
    isSigned: verifySignature(null, Buffer.from(text), publicKey, signature),
    origin,
    size: Number(size),
    root,
  };
}

describe('the log, computed by somebody else', () => {
  it('has the root that its signed checkpoint says, and every subject’s entries in a chain', async () => {
    const { checkpoint, verifierKey } = await admin.audit('GetCheckpoint', { fresh: true });
    const head = readCheckpoint(checkpoint, verifierKey);
    expect(head).toMatchObject({ isSigned: true, origin: 'example.org/lastmile/development' });
    const all = (await query(admin, { limit: 1000 })).toReversed().slice(0, head.size);
    expect(all).toHaveLength(head.size);
    expect(merkleTreeHash(all).toString('base64')).toBe(head.root);

    const chains = new Map<string, { seq: number; hash: string }>();
    for (const [leaf, bytes] of all.entries()) {
      const entry = JSON.parse(bytes.toString()) as Record<string, unknown> & {
        subject: string;
        seq: number;
      };
      expect(canonical(entry)).toBe(bytes.toString());
      expect(entry.leaf).toBe(leaf);
      const before = chains.get(entry.subject);
      expect({ seq: entry.seq, prev: entry.prev }).toEqual({
        seq: before === undefined ? 0 : before.seq + 1,
        prev: before?.hash ?? '',
      });
      chains.set(entry.subject, { seq: entry.seq, hash: sha256(Buffer.of(0), bytes).toString('base64url') });
    }
    expect([...chains.keys()]).toEqual(expect.arrayContaining(['lastmile', PAYMENTS]));
  });

  /** RFC 8785, for what entries have: no fractions. */
  function canonical(value: unknown): string {
    if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
  }
});

describe('a receipt', () => {
  it('shows the caller’s own entry in a signed checkpoint, and no other', async () => {
    const { verifierKey } = await admin.audit('GetCheckpoint', {});
    const key = parseVerifierKey(verifierKey);
    const { log } = await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
    const { receipt, entry } = await client.getReceipt(log.leafIndex);
    const proof = parseTlogProof(receipt);
    expect(proof.leafIndex).toBe(log.leafIndex);
    expect(readCheckpoint(proof.checkpoint, verifierKey).isSigned).toBe(true);
    expect(verifyTlogProof(proof, entry, key).treeSize).toBeGreaterThan(log.leafIndex);
    for (let at = 0; at < entry.length; at += 17) {
      const changed = Buffer.from(entry);
      changed[at]! ^= 1;
      expect(() => verifyTlogProof(proof, changed, key)).toThrow('not at that index');
    }
    expect(() => verifyTlogProof({ ...proof, leafIndex: log.leafIndex - 1 }, entry, key)).toThrow();
    const [first, ...others] = proof.hashes;
    const wrong = { ...proof, hashes: [sha256(first!), ...others] };
    expect(() => verifyTlogProof(wrong, entry, key)).toThrow();
  });

  it('comes to an auditor with any entry', async () => {
    const auditor = await operator(instance, 'auditor');
    const billing = await workload(instance, 'billing');
    try {
      const { log } = await billing.sign({ key: 'billing/invoices', algorithm: 'ES256', message });
      const { entry, receipt } = await auditor.audit('GetEntry', { leafIndex: log.leafIndex });
      const { verifierKey } = await auditor.audit('GetCheckpoint', {});
      verifyTlogProof(parseTlogProof(receipt), entry!.entry, parseVerifierKey(verifierKey));
      expect(JSON.parse(Buffer.from(entry!.entry).toString())).toMatchObject({ subject: BILLING });
      const [look] = await query(admin, { kind: 'method', operation: 'Audit.GetEntry', limit: 1 });
      expect(JSON.parse(look!.toString())).toMatchObject({
        subject: 'spiffe://example.org/human/auditor',
        detail: { leaf: log.leafIndex },
      });
    } finally {
      auditor.close();
      billing.close();
    }
  });
});

describe('audit verify', () => {
  let scratch: string;
  let verifierKey: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'lastmile-log-'));
    ({ verifierKey } = await admin.audit('GetCheckpoint', {}));
  });
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  it('finds the log of a running broker sound', async () => {
    const said = await runLastmile(['audit', 'verify', '--instance', instance.directory, '--as', 'operator']);
    expect(said).toMatch(/result:\s+sound\n/);
    expect(said).toContain('no witness cosigned this log');
  });

  it('finds a stopped broker’s directory sound, without a broker and as a copy, to its last entry', async () => {
    await instance.end();
    const directory = join(scratch, 'copy');
    await cp(join(instance.directory, 'audit'), directory, { recursive: true });
    const said = JSON.parse(
      await runLastmile([
        'audit',
        'verify',
        '--directory',
        directory,
        '--verifier-key',
        verifierKey,
        '--json',
      ]),
    ) as { entries: number; checkpointSize: number; isSound: boolean; isSignatureVerified: boolean };
    expect(said).toMatchObject({ isSound: true, isSignatureVerified: true, checkpointSize: said.entries });
  });

  it('finds one changed byte wherever it is, and says so with its exit code', async () => {
    const directory = join(scratch, 'copy');
    const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(
      (name) => /^(tile\/|checkpoint$|treehead$)/.test(name) && statSync(join(directory, name)).isFile(),
    );
    expect(files).toEqual(expect.arrayContaining(['checkpoint', 'treehead']));
    expect(files.some((name) => name.startsWith('tile/entries/'))).toBe(true);
    expect(files.some((name) => name.startsWith('tile/0/'))).toBe(true);
    const read = (changed: string, at: number) => async (path: string) => {
      let bytes: Buffer;
      try {
        bytes = await readFile(join(directory, path));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
      if (path === changed) bytes[at]! ^= 1;
      return bytes;
    };
    const unseen: string[] = [];
    let tried = 0;
    for (const name of files) {
      const { size } = statSync(join(directory, name));
      const step = Math.max(1, Math.floor(size / 12));
      for (let at = 0; at < size; at += step) {
        tried++;
        const report = await verifyLog({ read: read(name, at), verifierKey });
        if (report.isSound && report.isSignatureVerified) unseen.push(`${name} at ${at}`);
      }
    }
    expect(tried).toBeGreaterThan(40);
    expect(unseen).toEqual([]);

    const bundle = join(directory, files.find((name) => name.startsWith('tile/entries/'))!);
    const bytes = await readFile(bundle);
    bytes[Math.floor(bytes.length / 2)]! ^= 1;
    await writeFile(bundle, bytes);
    await expect(
      runLastmile(['audit', 'verify', '--directory', directory, '--verifier-key', verifierKey]),
    ).rejects.toThrow(/ended with 4:[\s\S]*NOT SOUND/);
  });

  it('does not take another log’s key', async () => {
    const directory = join(instance.directory, 'audit');
    const [name] = verifierKey.split('+');
    const other = formatVerifierKey(makeVerifierKey(name!, sha256(message)));
    await expect(
      runLastmile(['audit', 'verify', '--directory', directory, '--verifier-key', other]),
    ).rejects.toThrow(/ended with 4:/);
  });
});
