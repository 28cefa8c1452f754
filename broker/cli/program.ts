import { Command, CommanderError } from 'commander';
import { addApprovals } from './approvals.ts';
import { addAudit } from './audit.ts';
import { addClock } from './clock.ts';
import { type CliContext, EXIT } from './context.ts';
import { addDecrypt } from './decrypt.ts';
import { addDemo } from './demo.ts';
import { addDoctor } from './doctor.ts';
import { addEncrypt } from './encrypt.ts';
import { formatReport, reportOf } from './failure.ts';
import { addFreeze } from './freeze.ts';
import { addInit } from './init.ts';
import { addKeys } from './keys.ts';
import { addMac } from './mac.ts';
import { json, write } from './output.ts';
import { addPolicy } from './policy.ts';
import { addPublicKey } from './public-key.ts';
import { addRandom } from './random.ts';
import { addReceipt } from './receipt.ts';
import { addServe } from './serve.ts';
import { addSign } from './sign.ts';
import { addSignCertificate } from './sign-certificate.ts';
import { addSignDsse } from './sign-dsse.ts';
import { addSignJwt } from './sign-jwt.ts';
import { addStatus } from './status.ts';
import { addTokens } from './tokens.ts';
import { addVerify } from './verify.ts';

const EXIT_CODES = `
Exit codes:
  0  done
  1  refused or failed; the reason is on standard error
  2  the command line, a file or a profile is wrong; nothing was sent
  3  no answer: the broker is away, or the answer came too late
  4  it does not verify: a signature, MAC, ciphertext, receipt or log
`;

/** The `lastmile` command with every verb. Parsing throws CommanderError, CliError or LastmileError: see `runCli`. */
export function buildProgram(context: CliContext): Command {
  const program = new Command('lastmile')
    .description(
      'Uses keys on HSMs as an attested workload, and operates the broker that stands before them.',
    )
    .exitOverride()
    .showHelpAfterError('(--help has an example)')
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    })
    .addHelpText('after', EXIT_CODES);
  program.commandsGroup('Workloads:');
  for (const add of [
    addSign,
    addSignJwt,
    addSignCertificate,
    addSignDsse,
    addVerify,
    addEncrypt,
    addDecrypt,
    addMac,
    addRandom,
    addPublicKey,
    addReceipt,
  ]) {
    add(program, context);
  }
  program.commandsGroup('Operators and auditors:');
  for (const add of [addStatus, addKeys, addTokens, addFreeze, addPolicy, addClock, addAudit])
    add(program, context);
  program.commandsGroup('Approvers:');
  addApprovals(program, context);
  program.commandsGroup('The broker:');
  for (const add of [addInit, addServe, addDemo, addDoctor]) add(program, context);
  return program;
}

/**
 * Runs one command line and returns its exit code. Failures are written to standard error: what failed, the reason,
 * what to do next; with `--json` as `{"error": …}`.
 *
 * @param argv without the interpreter and the script
 * @throws what is neither a refusal nor a usage error: a bug, with its stack
 */
export async function runCli(context: CliContext, argv: readonly string[]): Promise<number> {
  try {
    await buildProgram(context).parseAsync([...argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    // commander has written the help or the message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    // Whoever read our output has gone, as `head` does.
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return EXIT.failed;
    const report = reportOf(error);
    if (report === undefined) throw error;
    const { exitCode, ...rest } = report;
    await write(context.stderr, argv.includes('--json') ? json({ error: rest }) : formatReport(report));
    return exitCode;
  }
}
