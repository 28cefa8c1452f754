import type { Command } from 'commander';
import type { DecryptInput, LastmileClient } from '../client/client.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import type { ByteSource } from './byte-source.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { ENVELOPE_MAGIC, EnvelopeError, openEnvelope, wrappingAssociatedData } from './envelope.ts';
import { openInput, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags, AskingFlags {
  readonly associatedData?: string;
  readonly out?: string;
}

/** The broker's own ciphertexts: 64 KiB of plaintext and what describes it. */
const MAX_CIPHERTEXT_BYTES = 128 * 1024;
const OWNER_ONLY = 0o600;

export function addDecrypt(program: Command, context: CliContext): void {
  const command = program
    .command('decrypt')
    .summary('decrypt a file')
    .description(
      'Decrypts what `lastmile encrypt` made. A file given with --out appears only when all of it has been verified; on standard output a large file appears as it is verified, and exit code 4 says that its end was missing or damaged.',
    )
    .argument('<key>', 'key name, such as payments/data')
    .argument('[file]', 'the ciphertext; - or nothing is standard input')
    .option('--associated-data <text>', 'the same as when it was encrypted')
    .option('--out <file>', 'where the plaintext goes, readable by its owner alone; default standard output')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile decrypt payments/data report.pdf.lm --as payments --out report.pdf\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      if (flags.json === true && (flags.out === undefined || flags.out === '-')) {
        throw new CliError(EXIT.usage, '--json needs --out: the plaintext goes elsewhere');
      }
      const bytes = await asWorkload(context, flags, (client) =>
        writeOutput(
          context,
          flags.out,
          decrypted(context, client, key, openInput(context, file), flags),
          OWNER_ONLY,
        ),
      );
      if (flags.json === true) await write(context.stdout, json({ key, bytes }));
    });
  withConnection(withAsking(command), context);
}

async function* decrypted(
  context: CliContext,
  client: LastmileClient,
  key: string,
  source: ByteSource,
  flags: Flags,
): AsyncGenerator<Uint8Array> {
  const associatedData = Buffer.from(flags.associatedData ?? '');
  const opened = async (input: DecryptInput): Promise<Uint8Array> =>
    (await asked(context, flags, (options) => client.decrypt(input, options))).plaintext;
  if (!(await source.peek(ENVELOPE_MAGIC.length)).equals(ENVELOPE_MAGIC)) {
    const ciphertext = await source.read(MAX_CIPHERTEXT_BYTES + 1);
    if (ciphertext.length > MAX_CIPHERTEXT_BYTES) {
      throw new CliError(
        EXIT.unverified,
        'the input is not what `lastmile encrypt` makes: too long, and not an envelope',
      );
    }
    yield await opened({ key, ciphertext, associatedData });
    return;
  }
  try {
    yield* openEnvelope(source, (wrapped) =>
      opened({ key, ciphertext: wrapped, associatedData: wrappingAssociatedData(associatedData) }),
    );
  } catch (error) {
    if (error instanceof EnvelopeError) throw new CliError(EXIT.unverified, error.message, { cause: error });
    throw error;
  }
}
