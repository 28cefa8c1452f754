/**
 * The demonstration's client: a process of its own, that knows of the broker what any client knows. Every step is
 * checked with something that is not ours where there is such a thing; exit code 1 when one did not hold.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseVerifierKey } from '../audit/tlog/note.ts';
import { parseTlogProof, verifyTlogProof } from '../audit/tlog/tlog-proof.ts';
import { connect, LastmileError } from '../client/client.ts';
import { connectOperator } from '../client/operator-client.ts';
import type { ConnectOptions } from '../client/transport.ts';

const directory = process.argv[2] ?? '';
const file = fileURLToPath(new URL('../../LICENSE', import.meta.url));
let failures = 0;

function show(ok: boolean, text: string): void {
  if (!ok) failures++;
  process.stdout.write(`  ${ok ? 'ok  ' : 'FAIL'}  ${text}\n`);
}

function profile(name: string): { target: string; control: string; options: Omit<ConnectOptions, 'target'> } {
  const parsed = JSON.parse(readFileSync(join(directory, 'client', `${name}.json`), 'utf8')) as Record<
    string,
    string
  >;
  const at = (key: string): string => join(directory, parsed[key] ?? '');
  return {
    target: parsed['target'] ?? '',
    control: parsed['control'] ?? '',
    options: {
      brokerId: parsed['brokerId'] ?? '',
      svid: { certificateFile: at('certificate'), keyFile: at('key'), trustBundleFile: at('trustBundle') },
    },
  };
}

const work = mkdtempSync(join(tmpdir(), 'lastmile-demo-'));
try {
  const payments = profile('payments');
  const auditor = profile('auditor');
  await using client = await connect({ target: payments.target, ...payments.options });
  await using audit = await connectOperator({ target: auditor.control, ...auditor.options });
  const content = readFileSync(file);

  process.stdout.write('\nspiffe://example.org/ns/payments/sa/api signs and encrypts\n');
  const signed = await client.sign({
    key: 'payments/jwt',
    algorithm: 'ES256',
    message: content,
    signatureFormat: 'der',
  });
  const { pem } = await client.getPublicKey({ key: 'payments/jwt' });
  writeFileSync(join(work, 'public.pem'), pem);
  writeFileSync(join(work, 'signature'), signed.signature);
  const openssl = spawnSync(
    'openssl',
    ['dgst', '-sha256', '-verify', join(work, 'public.pem'), '-signature', join(work, 'signature'), file],
    { encoding: 'utf8' },
  );
  show(
    openssl.stdout.trim() === 'Verified OK',
    `ES256 signature of LICENSE, checked by openssl: ${openssl.stdout.trim() || openssl.stderr.trim() || String(openssl.error)}`,
  );

  const associatedData = Buffer.from('LICENSE');
  const sealed = await client.encrypt({ key: 'payments/data', plaintext: content, associatedData });
  const opened = await client.decrypt({
    key: 'payments/data',
    ciphertext: sealed.ciphertext,
    associatedData,
  });
  const isHidden = !Buffer.from(sealed.ciphertext).includes(content.subarray(0, 64));
  show(
    isHidden && content.equals(opened.plaintext),
    `A256GCM of ${content.length} bytes, decrypted again: the same bytes`,
  );

  process.stdout.write('\n… and is refused a key of the other workload\n');
  try {
    await client.sign({ key: 'billing/invoices', algorithm: 'ES256', message: content });
    show(false, 'billing/invoices signed for payments');
  } catch (error) {
    const reason = error instanceof LastmileError ? `${error.code} ${error.reason}` : String(error);
    show(error instanceof LastmileError && error.reason === 'POLICY_DENIED', `billing/invoices: ${reason}`);
  }

  process.stdout.write('\nThe audit log knows\n');
  const { entries = [] } = await audit.audit('Query', {
    workload: 'spiffe://example.org/ns/payments/sa/api',
    limit: 4,
  });
  for (const { leafIndex, entry } of entries.toReversed()) {
    const e = JSON.parse(Buffer.from(entry as Uint8Array).toString('utf8')) as Record<string, unknown>;
    process.stdout.write(
      `        ${String(leafIndex).padStart(5)}  ${String(e['time'])}  ${String(e['decision']).padEnd(5)}  ${String(e['operation']).padEnd(8)} ${String(e['key']).padEnd(17)} ${e['decision'] === 'allow' ? `rule ${String(e['rule'])}` : String(e['reason'])}\n`,
    );
  }
  const seen = entries.map(
    ({ entry }) =>
      JSON.parse(Buffer.from(entry as Uint8Array).toString('utf8')) as {
        decision: string;
        operation: string;
      },
  );
  show(
    ['sign', 'encrypt', 'decrypt'].every((operation) =>
      seen.some((e) => e.operation === operation && e.decision === 'allow'),
    ) && seen.some((e) => e.decision === 'deny'),
    'three uses and the refusal are on record',
  );
  const { receipt, entry } = await client.getReceipt(signed.log.leafIndex);
  const { verifierKey = '' } = await audit.audit('GetCheckpoint', { fresh: false });
  const proof = parseTlogProof(receipt);
  // Throws when the proof does not lead to the checkpoint, or the log's key did not sign that.
  const head = verifyTlogProof(proof, entry, parseVerifierKey(verifierKey));
  show(
    proof.leafIndex === signed.log.leafIndex && head.treeSize > proof.leafIndex,
    `entry ${signed.log.leafIndex} is in the tree under the checkpoint that the log's key signed`,
  );
  writeFileSync(join(directory, 'log.vkey'), `${verifierKey}\n`);
} catch (error) {
  show(false, error instanceof Error ? `${error.name}: ${error.message}` : String(error));
} finally {
  rmSync(work, { recursive: true });
}
process.exitCode = failures === 0 ? 0 : 1;
