import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { type LogReport, type ReadPublished, verifyLog } from '../audit/tlog/verify-log.ts';
import { LastmileError } from '../client/errors.ts';
import type { OperatorClient } from '../client/operator-client.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
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
    const report = await verifyLog({ read: readThrough(client), verifierKey: given ?? named });
    return { report, isKeyFromBroker: given === undefined };
  });
}

/** What the broker does not have, it calls an invalid request; that a needed file is missing is a finding. */
function readThrough(client: OperatorClient): ReadPublished {
  return async (path) => {
    try {
      return (await client.audit('ReadTile', { path })).content;
    } catch (error) {
      if (error instanceof LastmileError && error.reason === 'REQUEST_INVALID') return undefined;
      throw error;
    }
  };
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
  const root = resolve(context.cwd, directory);
  const read: ReadPublished = async (path) => {
    try {
      return await readFile(join(root, path));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      throw new CliError(EXIT.usage, `cannot read ${join(directory, path)}: ${code}`, { cause });
    }
  };
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
