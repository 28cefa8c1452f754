import type { Command } from 'commander';
import { pinned, positiveInteger, seconds } from './arguments.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { openInput, readAtMost, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags, AskingFlags {
  readonly lifetime: number;
  readonly type?: string;
  readonly algorithm?: string;
  readonly keyVersion?: number;
  readonly out?: string;
}

const MAX_CLAIMS_BYTES = 16 * 1024;

export function addSignJwt(program: Command, context: CliContext): void {
  const command = program
    .command('sign-jwt')
    .summary('sign a JWT of claims')
    .description(
      'Signs a JWT of the claims in FILE (or standard input), a JSON object. The broker writes header, `iat`, `exp` and `jti`; rules look at the claims.',
    )
    .argument('<key>', 'key name, such as payments/jwt')
    .argument('[file]', 'claims; - or nothing is standard input')
    .requiredOption('--lifetime <duration>', 'from `iat` to `exp`, such as 15m', seconds)
    .option('--type <typ>', 'header parameter `typ`, such as at+jwt; default JWT')
    .option('--algorithm <name>', 'JOSE name; needed where the key has several')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .option('--out <file>', 'where the JWT goes; default standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  lastmile sign-jwt payments/jwt claims.json --lifetime 15m --as payments\n  echo \'{"aud":"https://bank.example"}\' | lastmile sign-jwt payments/jwt --lifetime 15m --as payments\n',
    )
    .action(async (key: string, file: string | undefined, flags: Flags) => {
      const claims = await readAtMost(openInput(context, file), MAX_CLAIMS_BYTES, 'claims are over 16 KiB');
      const input = {
        key,
        ...pinned(flags.keyVersion),
        ...(flags.algorithm === undefined ? {} : { algorithm: flags.algorithm }),
        ...(flags.type === undefined ? {} : { type: flags.type }),
        claims,
        lifetimeSeconds: flags.lifetime,
      };
      const signed = await asWorkload(context, flags, (client) =>
        asked(context, flags, (options) => client.signJwt(input, options)),
      );
      if (flags.out !== undefined || flags.json !== true) {
        await writeOutput(context, flags.out, [Buffer.from(`${signed.jwt}\n`)]);
      }
      if (flags.json === true) await write(context.stdout, json({ key, ...signed }));
    });
  withConnection(withAsking(command), context);
}
