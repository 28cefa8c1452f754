import type { Command } from 'commander';
import { leafHash, TlogError } from '../audit/tlog/hash.ts';
import { parseVerifierKey } from '../audit/tlog/note.ts';
import { parseTlogProof, verifyTlogProofOfLeaf } from '../audit/tlog/tlog-proof.ts';
import { count } from './arguments.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { writeOutput } from './files.ts';
import { json, printable, write } from './output.ts';
import { givenVerifierKey } from './verifier-key.ts';

interface Flags extends ConnectionFlags {
  readonly out?: string;
  readonly entry?: string;
  readonly verifierKey?: string;
}

export function addReceipt(program: Command, context: CliContext): void {
  const command = program
    .command('receipt')
    .summary('proof that an own use of a key is in the log')
    .description(
      "The receipt (c2sp.org/tlog-proof@v1) of one of the caller's own entries. With --verifier-key it is checked here; exit code 4 when it does not hold. For auditors there is `lastmile audit show`.",
    )
    .argument('<leaf>', 'index of the entry, as the result of an operation says it', count)
    .option('--out <file>', 'where the receipt goes; default standard output')
    .option('--entry <file>', 'write the exact bytes of the entry here')
    .option('--verifier-key <vkey>', "the log's key (C2SP signed note) or @FILE, from somebody you trust")
    .addHelpText(
      'after',
      '\nExample:\n  lastmile receipt 17 --as payments --out 17.tlog-proof --entry 17.json\n',
    )
    .action(async (leafIndex: number, flags: Flags) => {
      const verifierKey =
        flags.verifierKey === undefined ? undefined : await givenVerifierKey(context, flags.verifierKey);
      const receiptOf = await asWorkload(context, flags, (client) => client.getReceipt(leafIndex));
      const { receipt, entry } = receiptOf;
      // An entry that is for auditors is not there to be hashed.
      const leaf = entry.length === 0 ? receiptOf.leafHash : leafHash(entry);
      const treeSize =
        verifierKey === undefined ? undefined : checkReceipt(receipt, leaf, leafIndex, verifierKey);
      if (flags.entry !== undefined) await writeOutput(context, flags.entry, [entry]);
      if (flags.json === true) {
        await write(
          context.stdout,
          json({ leafIndex, receipt, entry: Buffer.from(entry).toString('utf8'), treeSize }),
        );
        if (flags.out === undefined) return;
      }
      await writeOutput(context, flags.out, [
        Buffer.from(flags.out === undefined ? printable(receipt, '\n') : receipt),
      ]);
    });
  withConnection(command, context);
}

/** @returns the size of the tree that the receipt is of. @throws CliError with exit code 4 */
export function checkReceipt(
  receipt: string,
  leaf: Uint8Array,
  leafIndex: number,
  verifierKey: string,
): number {
  try {
    const proof = parseTlogProof(receipt);
    const head = verifyTlogProofOfLeaf(proof, leaf, parseVerifierKey(verifierKey));
    if (proof.leafIndex !== leafIndex) throw new TlogError(`the proof is of entry ${proof.leafIndex}`);
    return head.treeSize;
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    throw new CliError(EXIT.unverified, `the receipt of entry ${leafIndex} does not hold: ${error.message}`, {
      advice: 'keep it as it is and show it to the security team; compare the verifier key first',
      cause: error,
    });
  }
}
