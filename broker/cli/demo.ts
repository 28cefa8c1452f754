import { resolve } from 'node:path';
import type { Command } from 'commander';
import { instanceOption } from './connection.ts';
import type { CliContext } from './context.ts';

interface Flags {
  readonly instance: string;
  readonly once?: boolean;
}

export function addDemo(program: Command, context: CliContext): void {
  program
    .command('demo')
    .summary('see it work')
    .description(
      'Makes a development instance if there is none, starts the broker, and shows a workload signing and encrypting, another one being refused, and the log that proves both. Then it goes on serving.',
    )
    .addOption(instanceOption(context))
    .option('--once', 'stop after the demonstration; exit code 0 only if every step held')
    .addHelpText('after', '\nExample:\n  lastmile demo --once\n')
    .action((flags: Flags) =>
      context.demo({ directory: resolve(context.cwd, flags.instance), once: flags.once === true }),
    );
}
