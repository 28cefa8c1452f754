import { type Command, Option } from 'commander';
import { leafHash } from '../audit/tlog/hash.ts';
import type { LoggedEntry__Output } from '../proto/gen/lastmile/v1/LoggedEntry.ts';
import { count, positiveInteger } from './arguments.ts';
import { addAuditAccept } from './audit-accept.ts';
import { type CheckedVote, checkVote, citedApproval, voteLine } from './audit-approvals.ts';
import { addAuditVerify } from './audit-verify.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { writeOutput } from './files.ts';
import { moment } from './moment.ts';
import { json, printable, table, write } from './output.ts';
import { checkReceipt } from './receipt.ts';
import { givenVerifierKey } from './verifier-key.ts';

interface ListFlags extends ConnectionFlags {
  readonly workload?: string;
  readonly key?: string;
  readonly decision?: string;
  readonly operation?: string;
  readonly kind?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
  readonly before?: number;
}

interface ShowFlags extends ConnectionFlags {
  readonly receipt?: string;
  readonly verifierKey?: string;
}

interface CheckpointFlags extends ConnectionFlags {
  readonly newest?: boolean;
  readonly out?: string;
}

export function addAudit(program: Command, context: CliContext): void {
  const audit = program
    .command('audit')
    .summary('read and verify the log')
    .description('The log. For auditors.');
  addList(audit, context);
  addShow(audit, context);
  addAuditVerify(audit, context);
  addCheckpoint(audit, context);
  addAuditAccept(audit, context);
}

function addList(audit: Command, context: CliContext): void {
  const command = audit
    .command('list')
    .description('Entries, newest first.')
    .option('--workload <spiffe-id>', 'of one subject')
    .option('--key <name>', 'about one key')
    .addOption(new Option('--decision <name>', 'only these').choices(['allow', 'deny']))
    .option('--operation <name>', 'such as sign, or Admin.CreateKey')
    .option('--kind <name>', 'such as key-use, policy, freeze')
    .option('--since <time>', 'RFC 3339, or how long ago: 15m, 2h, 7d', moment)
    .option('--until <time>', 'likewise', moment)
    .option('--limit <n>', '1 to 1000', positiveInteger, 50)
    .option('--before <leaf>', 'only entries before this one', positiveInteger)
    .addHelpText('after', '\nExample:\n  lastmile audit list --key payments/jwt --decision deny --since 2h\n')
    .action(async (flags: ListFlags) => {
      const { entries, logSize, continueBefore } = await asOperator(context, flags, (client) =>
        client.audit('Query', {
          workload: flags.workload ?? '',
          key: flags.key ?? '',
          decision: flags.decision ?? '',
          operation: flags.operation ?? '',
          kind: flags.kind ?? '',
          since: flags.since ?? '',
          until: flags.until ?? '',
          limit: flags.limit,
          before: flags.before ?? 0,
        }),
      );
      const shown = entries.map((logged) => ({ leafIndex: logged.leafIndex, entry: parseEntry(logged) }));
      await write(
        context.stdout,
        flags.json === true ? json({ entries: shown, logSize, continueBefore }) : entryTable(shown),
      );
      // A full page says itself that there may be more.
      if (continueBefore > 0 && entries.length < flags.limit) {
        await write(
          context.stderr,
          `older entries were not looked through: go on with --before ${continueBefore}\n`,
        );
      }
    });
  withConnection(command, context);
}

type Entry = Readonly<Record<string, unknown>>;

interface ProvenEntry {
  readonly entry: Entry;
  readonly receipt: string;
  readonly treeSize: number;
}

function parseEntry(logged: LoggedEntry__Output): Entry {
  try {
    return JSON.parse(Buffer.from(logged.entry).toString('utf8')) as Entry;
  } catch (cause) {
    throw new CliError(EXIT.unverified, `entry ${logged.leafIndex} is not JSON`, { cause });
  }
}

function entryTable(entries: readonly { leafIndex: number; entry: Entry }[]): string {
  const cell = (value: unknown): string => (value === undefined ? '-' : String(value));
  return table(
    ['LEAF', 'TIME', 'DECISION', 'SUBJECT', 'OPERATION', 'KEY', 'WHY'],
    entries.map(({ leafIndex, entry }) => [
      leafIndex,
      cell(entry.time),
      cell(entry.decision),
      cell(entry.subject),
      cell(entry.operation),
      cell(entry.key),
      cell(entry.reason ?? entry.rule),
    ]),
  );
}

function addShow(audit: Command, context: CliContext): void {
  const command = audit
    .command('show')
    .description(
      'One entry, after checking its inclusion in the signed checkpoint, and the approvals that it used: their signatures, over an act that is what was done. Exit code 4 when that does not hold.',
    )
    .argument('<leaf>', 'index of the entry', count)
    .option('--receipt <file>', 'write the receipt (c2sp.org/tlog-proof@v1) here')
    .option(
      '--verifier-key <vkey>',
      "the log's key, or @FILE, from somebody you trust; default: as the broker names it",
    )
    .addHelpText('after', '\nExample:\n  lastmile audit show 17 --receipt 17.tlog-proof\n')
    .action(async (leafIndex: number, flags: ShowFlags) => {
      const given =
        flags.verifierKey === undefined ? undefined : await givenVerifierKey(context, flags.verifierKey);
      const shown = await asOperator(context, flags, async (client) => {
        const verifierKey = given ?? (await client.audit('GetCheckpoint', {})).verifierKey;
        const read = async (leaf: number): Promise<ProvenEntry> => {
          const { entry: logged, receipt } = await client.audit('GetEntry', { leafIndex: leaf });
          if (!logged) throw new CliError(EXIT.failed, `the log has no entry ${leaf}`);
          const treeSize = checkReceipt(receipt, leafHash(logged.entry), leaf, verifierKey);
          return { entry: parseEntry(logged), receipt, treeSize };
        };
        const proven = await read(leafIndex);
        const cited = citedApproval(proven.entry);
        const approvals: CheckedVote[] = [];
        for (const [at, leaf] of (cited?.votes ?? []).entries())
          approvals.push(await checkVote(proven.entry, cited!, at, (await read(leaf)).entry));
        return { ...proven, approvals };
      });
      const { entry, receipt, treeSize, approvals } = shown;
      if (flags.receipt !== undefined) await writeOutput(context, flags.receipt, [Buffer.from(receipt)]);
      const trusted = given === undefined ? ', by the key that the broker names' : '';
      const text = `${printable(JSON.stringify(entry, null, 2), '\n')}\n${approvals.map(voteLine).join('')}included in the signed checkpoint of ${treeSize} entries${trusted}\n`;
      await write(context.stdout, flags.json === true ? json({ leafIndex, ...shown }) : text);
      if (approvals.some(({ problem }) => problem !== undefined))
        throw new CliError(EXIT.unverified, 'what this entry cites is no approval of what it did');
    });
  withConnection(command, context);
}

function addCheckpoint(audit: Command, context: CliContext): void {
  const command = audit
    .command('checkpoint')
    .description(
      'The newest signed checkpoint: keep it elsewhere, and nobody can shorten or rewrite the log before it unseen.',
    )
    .option('--newest', 'as it was last signed, instead of signing one over all entries first')
    .option('--out <file>', 'where it goes; default standard output')
    .addHelpText('after', '\nExample:\n  lastmile audit checkpoint --out checkpoint.$(date +%F)\n')
    .action(async (flags: CheckpointFlags) => {
      const { checkpoint, verifierKey } = await asOperator(context, flags, (client) =>
        client.audit('GetCheckpoint', { fresh: flags.newest !== true }),
      );
      if (flags.json === true) await write(context.stdout, json({ checkpoint, verifierKey }));
      if (flags.out !== undefined) await writeOutput(context, flags.out, [Buffer.from(checkpoint)]);
      else if (flags.json !== true) await write(context.stdout, printable(checkpoint, '\n'));
    });
  withConnection(command, context);
}
