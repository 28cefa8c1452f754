import type { Command } from 'commander';
import { pinned, positiveInteger } from './arguments.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { signedContent, soleAlgorithm } from './content.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { openInput, readWhole } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags {
  readonly signature: string;
  readonly algorithm?: string;
  readonly keyVersion?: number;
  readonly digest?: boolean;
  readonly der?: boolean;
}

const MAX_SIGNATURE_BYTES = 4096;

export function addVerify(program: Command, context: CliContext): void {
  const command = program
    .command('verify')
    .summary('verify a signature')
    .description('Verifies a signature of FILE (or standard input). Exit code 4 when it does not verify.')
    .argument('<key>', 'key name, such as payments/jwt')
    .argument('[file]', 'what was signed; - or nothing is standard input')
    .requiredOption('--signature <file>', 'the signature, binary')
    .option('--algorithm <name>', 'JOSE name; needed where the key has several')
    .option('--key-version <n>', 'the version that signed; default the active one', positiveInteger)
    .option('--digest', 'the input is the digest')
    .option('--der', 'the ECDSA signature is DER')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile verify payments/jwt README.md --signature README.sig --der --as payments\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      const signature = await readWhole(context, flags.signature, MAX_SIGNATURE_BYTES);
      const verified = await asWorkload(context, flags, async (client) => {
        const algorithm = await soleAlgorithm(client, key, flags.keyVersion, flags.algorithm);
        const content = await signedContent(openInput(context, file), algorithm, flags.digest === true);
        return await client.verify({
          key,
          ...pinned(flags.keyVersion),
          algorithm,
          ...content,
          signature,
          signatureFormat: flags.der === true ? 'der' : 'raw',
        });
      });
      if (flags.json === true) await write(context.stdout, json({ key, ...verified }));
      if (!verified.valid) {
        throw new CliError(
          EXIT.unverified,
          `the signature is not one of \`${key}\` (version ${verified.version}) over this input`,
          {
            advice:
              'an ECDSA signature from openssl needs --der; one of an older version needs --key-version',
          },
        );
      }
      if (flags.json !== true) await write(context.stdout, `valid, by ${key} version ${verified.version}\n`);
    });
  withConnection(command, context);
}
