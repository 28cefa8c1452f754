import { type Command, Option } from 'commander';
import { pinned, positiveInteger } from './arguments.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags {
  readonly keyVersion?: number;
  readonly format: 'pem' | 'jwk' | 'jwks';
  readonly out?: string;
}

export function addPublicKey(program: Command, context: CliContext): void {
  const command = program
    .command('public-key')
    .summary('the public half of a key')
    .description('The public half of a key that you may use.')
    .argument('<key>', 'key name, such as payments/jwt')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .addOption(
      new Option(
        '--format <name>',
        'pem, jwk, or jwks: a set with one key a token where it is not replicated',
      )
        .choices(['pem', 'jwk', 'jwks'])
        .default('pem'),
    )
    .option('--out <file>', 'where it goes; default standard output')
    .addHelpText('after', '\nExample:\n  lastmile public-key payments/jwt --as payments --out key.pem\n')
    .action(async (key: string, flags: Flags) => {
      const publicKey = await asWorkload(context, flags, (client) =>
        client.getPublicKey({ key, ...pinned(flags.keyVersion) }),
      );
      if (flags.json === true && flags.out === undefined) {
        await write(context.stdout, json({ key, ...publicKey }));
        return;
      }
      const { pem, jwk, otherJwks } = publicKey;
      const forms = { pem: () => pem, jwk: () => json(jwk), jwks: () => json({ keys: [jwk, ...otherJwks] }) };
      await writeOutput(context, flags.out, [Buffer.from(forms[flags.format]())]);
      if (flags.json === true)
        await write(context.stdout, json({ key, kid: publicKey.kid, version: publicKey.version }));
    });
  withConnection(command, context);
}
