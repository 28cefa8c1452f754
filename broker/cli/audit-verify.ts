import type { Command } from 'commander';
import { type LogReport, verifyLog } from '../audit/tlog/verify-log.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { publishedBy, publishedIn } from './log-entries.ts';
import { fields, json, printable, write } from './output.ts';
import { givenVerifierKey } from './verifier-key.ts';

interface Flags extends ConnectionFlags {
  readonly directory?: string;
  readonly verifierKey?: string;
}

interface Verification {
  readonly report: LogReport;
  readonly isKeyFromBroker: boolean;
}

export function addAuditVerify(audit: Command, context: CliContext): void {
  const command = audit
    .command('verify')
    .description(
      'Recomputes the whole log from its entries: tiles, signed checkpoint, and that no entry of any subject is missing. With --directory it needs no broker. Exit code 4 when something is not as it should be.',
    )
    .option('--directory <dir>', 'a copy of the log, or the directory of the broker')
    .option('--verifier-key <vkey>', "the log's key, or @FILE; without a broker it must be given")
    .addHelpText(
      'after',
      '\nExamples:\n  lastmile audit verify\n  lastmile audit verify --directory /mnt/evidence/log --verifier-key @log.vkey\n',
    )
    .action(async (flags: Flags) => {
      const verification =
        flags.directory === undefined
          ? await verifyOnline(context, flags)
          : await verifyDirectory(context, flags.directory, flags.verifierKey);
      const { report, isKeyFromBroker } = verification;
      await write(
        context.stdout,
        flags.json === true ? json({ ...report, isKeyFromBroker }) : reportText(verification),
      );
      if (!report.isSound || !report.isSignatureVerified) {
        throw new CliError(EXIT.unverified, 'the log is not what it should be', {
          advice: 'keep everything as it is, and call the security team',
        });
      }
    });
  withConnection(command, context);
}

async function verifyOnline(context: CliContext, flags: Flags): Promise<Verification> {
  const given =
    flags.verifierKey === undefined ? undefined : await givenVerifierKey(context, flags.verifierKey);
  return await asOperator(context, flags, async (client) => {
    const named = (await client.audit('GetCheckpoint', { fresh: true })).verifierKey;
    // What the broker does not have is a finding: a file that the log needs.
    const report = await verifyLog({ read: publishedBy(client).read, verifierKey: given ?? named });
    return { report, isKeyFromBroker: given === undefined };
  });
}

async function verifyDirectory(
  context: CliContext,
  directory: string,
  verifierKey: string | undefined,
): Promise<Verification> {
  if (verifierKey === undefined) {
    throw new CliError(EXIT.usage, 'without the verifier key of the log, its signature proves nothing', {
      advice: 'give --verifier-key; `lastmile audit checkpoint --json` shows it',
    });
  }
  const { read } = publishedIn(context, directory);
  return {
    report: await verifyLog({ read, verifierKey: await givenVerifierKey(context, verifierKey) }),
    isKeyFromBroker: false,
  };
}

function reportText({ report, isKeyFromBroker }: Verification): string {
  const signature = report.isSignatureVerified
    ? `verified${isKeyFromBroker ? ', by the key that the broker itself names' : ''}`
    : 'not verified';
  const summary = fields([
    ['log', report.origin],
    ['entries', report.entries],
    ['subjects', report.subjects],
    ['checkpoint', `over ${report.checkpointSize} entries, signature ${signature}`],
    ['root hash', report.rootHash],
    ['result', report.isSound && report.isSignatureVerified ? 'sound' : 'NOT SOUND'],
  ]);
  const findings = report.findings.map(({ severity, message, leafIndex }) => {
    const where = leafIndex === undefined ? '' : ` (entry ${leafIndex})`;
    return `${severity}: ${printable(message)}${where}\n`;
  });
  return summary + findings.join('');
}
