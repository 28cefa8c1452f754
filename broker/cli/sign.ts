import type { Command } from 'commander';
import { pinned, positiveInteger } from './arguments.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { signedContent, soleAlgorithm } from './content.ts';
import type { CliContext } from './context.ts';
import { type Encoding, encodeResult, encodingOption } from './encoding.ts';
import { openInput, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags, AskingFlags {
  readonly algorithm?: string;
  readonly keyVersion?: number;
  readonly digest?: boolean;
  readonly der?: boolean;
  readonly out?: string;
  readonly encoding?: Encoding;
}

export function addSign(program: Command, context: CliContext): void {
  const command = program
    .command('sign')
    .summary('sign a file')
    .description(
      'Signs FILE (or standard input) with KEY. Above 1 MiB the digest is computed here and signed.',
    )
    .argument('<key>', 'key name, such as payments/jwt')
    .argument('[file]', 'what to sign; - or nothing is standard input')
    .option('--algorithm <name>', 'JOSE name; needed where the key has several')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .option('--digest', 'the input is the digest')
    .option('--der', 'ECDSA signature as DER, as openssl wants it; default r‖s')
    .option('--out <file>', 'where the signature goes; default standard output')
    .addOption(encodingOption())
    .addHelpText(
      'after',
      '\nExample:\n  lastmile sign payments/jwt README.md --as payments --der --out README.sig\n  openssl dgst -sha256 -verify key.pem -signature README.sig README.md\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      await asWorkload(context, flags, async (client) => {
        const algorithm = await soleAlgorithm(client, key, flags.keyVersion, flags.algorithm);
        const content = await signedContent(openInput(context, file), algorithm, flags.digest === true);
        const input = {
          key,
          ...pinned(flags.keyVersion),
          algorithm,
          ...content,
          signatureFormat: flags.der === true ? ('der' as const) : ('raw' as const),
        };
        const signed = await asked(context, flags, (options) => client.sign(input, options));
        if (flags.out !== undefined || flags.json !== true) {
          const bytes = encodeResult(context, signed.signature, flags.encoding, flags.out);
          await writeOutput(context, flags.out, [bytes]);
        }
        if (flags.json === true) await write(context.stdout, json({ key, algorithm, ...signed }));
      });
    });
  withConnection(withAsking(command), context);
}
