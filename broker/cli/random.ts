import type { Command } from 'commander';
import { positiveInteger } from './arguments.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { type Encoding, encodeResult, encodingOption } from './encoding.ts';
import { writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Flags extends ConnectionFlags {
  readonly out?: string;
  readonly encoding?: Encoding;
}

const OWNER_ONLY = 0o600;

export function addRandom(program: Command, context: CliContext): void {
  const command = program
    .command('random')
    .summary("random bytes of a token's generator")
    .description("Random bytes of a token's generator, mixed with the operating system's.")
    .argument('<bytes>', 'how many, 1 to 1024', positiveInteger)
    .option('--out <file>', 'where they go; default standard output')
    .addOption(encodingOption())
    .addHelpText('after', '\nExample:\n  lastmile random 32 --as payments --encoding hex\n')
    .action(async (length: number, flags: Flags) => {
      const made = await asWorkload(context, flags, (client) => client.generateRandom(length));
      if (flags.out !== undefined || flags.json !== true) {
        await writeOutput(
          context,
          flags.out,
          [encodeResult(context, made.random, flags.encoding, flags.out)],
          OWNER_ONLY,
        );
      }
      // Random bytes are often made into secrets: what went to a file is not printed as well.
      if (flags.json === true)
        await write(context.stdout, json(flags.out === undefined ? made : { log: made.log }));
    });
  withConnection(command, context);
}
