import type { Command } from 'commander';
import { pinned, positiveInteger } from './arguments.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { openInput, readAtMost, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags, AskingFlags {
  readonly payloadType: string;
  readonly algorithm?: string;
  readonly keyVersion?: number;
  readonly out?: string;
}

const MAX_PAYLOAD_BYTES = 512 * 1024;

export function addSignDsse(program: Command, context: CliContext): void {
  const command = program
    .command('sign-dsse')
    .summary('sign a DSSE envelope, such as an in-toto statement')
    .description(
      'Signs FILE (or standard input) as the payload of a DSSE envelope. Of in-toto statements, rules look at predicate type and subjects.',
    )
    .argument('<key>', 'key name, such as release/provenance')
    .argument('[file]', 'payload; - or nothing is standard input')
    .option('--payload-type <type>', 'media type of the payload', 'application/vnd.in-toto+json')
    .option('--algorithm <name>', 'JOSE name; needed where the key has several')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .option('--out <file>', 'where the envelope goes; default standard output')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile sign-dsse release/provenance statement.json --as ci --out statement.dsse.json\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      const payload = await readAtMost(
        openInput(context, file),
        MAX_PAYLOAD_BYTES,
        'payload is over 512 KiB',
      );
      const input = {
        key,
        ...pinned(flags.keyVersion),
        ...(flags.algorithm === undefined ? {} : { algorithm: flags.algorithm }),
        payloadType: flags.payloadType,
        payload,
      };
      const signed = await asWorkload(context, flags, (client) =>
        asked(context, flags, (options) => client.signDsse(input, options)),
      );
      if (flags.out !== undefined || flags.json !== true) {
        await writeOutput(context, flags.out, [signed.envelope, Buffer.from('\n')]);
      }
      if (flags.json === true) {
        const { envelope, ...rest } = signed;
        await write(context.stdout, json({ key, envelope: Buffer.from(envelope).toString('utf8'), ...rest }));
      }
    });
  withConnection(withAsking(command), context);
}
