import type { Command } from 'commander';
import type { LastmileClient, LogPosition } from '../client/client.ts';
import { pinned, positiveInteger } from './arguments.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import type { ByteSource } from './byte-source.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { DATA_KEY_BYTES, sealEnvelope, wrappingAssociatedData } from './envelope.ts';
import { openInput, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags, AskingFlags {
  readonly keyVersion?: number;
  readonly associatedData?: string;
  readonly out?: string;
}

/** What the broker encrypts itself. */
const MAX_DIRECT_BYTES = 65_536;

interface Sealed {
  readonly format: 'lastmile-ciphertext' | 'lastmile-envelope-v1';
  readonly version: number;
  readonly log: LogPosition;
  readonly bytes: number;
}

export function addEncrypt(program: Command, context: CliContext): void {
  const command = program
    .command('encrypt')
    .summary('encrypt a file')
    .description(
      'Encrypts FILE (or standard input) under KEY. Up to 64 KiB the token encrypts; above, a data key made and wrapped by the token is used here (lastmile-envelope-v1). `lastmile decrypt` opens both.',
    )
    .argument('<key>', 'key name, such as payments/data')
    .argument('[file]', 'what to encrypt; - or nothing is standard input')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .option('--associated-data <text>', 'bound to the ciphertext, not stored in it; decrypt needs the same')
    .option('--out <file>', 'where the ciphertext goes; default standard output')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile encrypt payments/data report.pdf --as payments --out report.pdf.lm\n  lastmile decrypt payments/data report.pdf.lm --as payments --out report.pdf\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      const toStdout = flags.out === undefined || flags.out === '-';
      if (flags.json === true && toStdout)
        throw new CliError(EXIT.usage, '--json needs --out: the ciphertext goes elsewhere');
      if (toStdout && context.stdout.isTTY === true) {
        throw new CliError(
          EXIT.usage,
          'a ciphertext is no text for a terminal: name a file with --out, or pipe it',
        );
      }
      const sealed = await asWorkload(context, flags, (client) =>
        encryptTo(context, client, key, openInput(context, file), flags),
      );
      if (flags.json === true) await write(context.stdout, json({ key, ...sealed }));
    });
  withConnection(withAsking(command), context);
}

async function encryptTo(
  context: CliContext,
  client: LastmileClient,
  key: string,
  source: ByteSource,
  flags: Flags,
): Promise<Sealed> {
  const associatedData = Buffer.from(flags.associatedData ?? '');
  const first = await source.peek(MAX_DIRECT_BYTES + 1);
  if (first.length >= 1 && first.length <= MAX_DIRECT_BYTES) {
    const input = { key, ...pinned(flags.keyVersion), plaintext: first, associatedData };
    const { ciphertext, version, log } = await asked(context, flags, (options) =>
      client.encrypt(input, options),
    );
    const bytes = await writeOutput(context, flags.out, [ciphertext]);
    return { format: 'lastmile-ciphertext', version, log, bytes };
  }
  const input = {
    key,
    ...pinned(flags.keyVersion),
    length: DATA_KEY_BYTES,
    associatedData: wrappingAssociatedData(associatedData),
  };
  const {
    plaintext: dataKey,
    wrapped,
    version,
    log,
  } = await asked(context, flags, (options) => client.generateDataKey(input, options));
  try {
    const bytes = await writeOutput(context, flags.out, sealEnvelope(dataKey, wrapped, source));
    return { format: 'lastmile-envelope-v1', version, log, bytes };
  } finally {
    dataKey.fill(0);
  }
}
