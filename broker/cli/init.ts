import { resolve } from 'node:path';
import type { Command } from 'commander';
import { port } from './arguments.ts';
import { instanceOption } from './connection.ts';
import type { CliContext } from './context.ts';

interface Flags {
  readonly instance: string;
  readonly directory?: string;
  readonly workloadsPort: number;
  readonly controlPort: number;
}

const WORKLOADS_PORT = 7443;
const CONTROL_PORT = 7444;

export function addInit(program: Command, context: CliContext): void {
  program
    .command('init')
    .summary('make a development instance')
    .description(
      'Makes a development instance: a CA of its own, X.509-SVIDs, two SoftHSM2 tokens, keys, lastmile.yaml and policy.yaml. Software tokens protect nothing: not for production.',
    )
    .addOption(instanceOption(context))
    .option('--directory <dir>', 'the same as --instance')
    .option(
      '--workloads-port <n>',
      'for workloads, on the loopback; 0 lets the system choose',
      port,
      WORKLOADS_PORT,
    )
    .option('--control-port <n>', 'for operators and auditors, on the loopback', port, CONTROL_PORT)
    .addHelpText('after', '\nExample:\n  lastmile init --directory .lastmile\n')
    .action((flags: Flags) =>
      context.init({
        directory: resolve(context.cwd, flags.directory ?? flags.instance),
        workloadsPort: flags.workloadsPort,
        controlPort: flags.controlPort,
      }),
    );
}
