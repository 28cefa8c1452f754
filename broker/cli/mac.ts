import type { Command } from 'commander';
import { pinned, positiveInteger } from './arguments.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { MAX_MESSAGE_BYTES } from './content.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { type Encoding, encodeResult, encodingOption } from './encoding.ts';
import { openInput, readWhole, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags, AskingFlags {
  readonly algorithm?: string;
  readonly keyVersion?: number;
  readonly verify?: string;
  readonly out?: string;
  readonly encoding?: Encoding;
}

const MAX_MAC_BYTES = 64;

export function addMac(program: Command, context: CliContext): void {
  const command = program
    .command('mac')
    .summary('compute or verify an HMAC')
    .description(
      'Computes the HMAC of FILE (or standard input), up to 1 MiB, or verifies one. Exit code 4 when it does not fit.',
    )
    .argument('<key>', 'key name, such as payments/webhook')
    .argument('[file]', 'the message; - or nothing is standard input')
    .option('--algorithm <name>', 'HS256, HS384 or HS512; needed where the key has several')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .option('--verify <file>', 'verify the binary MAC in this file instead of making one')
    .option('--out <file>', 'where the MAC goes; default standard output')
    .addOption(encodingOption())
    .addHelpText(
      'after',
      '\nExample:\n  lastmile mac payments/webhook body.json --as payments --encoding hex\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      const source = openInput(context, file);
      const message = await source.read(MAX_MESSAGE_BYTES + 1);
      if (message.length > MAX_MESSAGE_BYTES) {
        throw new CliError(EXIT.usage, 'the input is above 1 MiB', {
          advice: 'compute a digest of it, and the MAC of that',
        });
      }
      const input = {
        key,
        ...pinned(flags.keyVersion),
        ...(flags.algorithm === undefined ? {} : { algorithm: flags.algorithm }),
        message,
      };
      if (flags.verify !== undefined) {
        if (flags.waitForApproval !== undefined || flags.emergency === true)
          throw new CliError(EXIT.usage, 'nobody is asked to approve a verification');
        const mac = await readWhole(context, flags.verify, MAX_MAC_BYTES);
        const verified = await asWorkload(context, flags, (client) => client.verifyMac({ ...input, mac }));
        if (flags.json === true) await write(context.stdout, json({ key, ...verified }));
        if (!verified.valid)
          throw new CliError(EXIT.unverified, `the MAC is not one of \`${key}\` over this input`);
        if (flags.json !== true)
          await write(context.stdout, `valid, by ${key} version ${verified.version}\n`);
        return;
      }
      const made = await asWorkload(context, flags, (client) =>
        asked(context, flags, (options) => client.mac(input, options)),
      );
      if (flags.out !== undefined || flags.json !== true) {
        await writeOutput(context, flags.out, [encodeResult(context, made.mac, flags.encoding, flags.out)]);
      }
      if (flags.json === true) await write(context.stdout, json({ key, ...made }));
    });
  withConnection(withAsking(command), context);
}
