import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { type Act, ActError, approvalId, parseAct, renderAct } from '../approvals/act.ts';
import type { Approval__Output } from '../proto/gen/lastmile/v1/Approval.ts';
import { approverSignature, type SignatureFlags } from './approver-signature.ts';
import { positiveInteger, seconds } from './arguments.ts';
import { asApprover, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole, writeOutput } from './files.ts';
import { fields, json, printable, table, write } from './output.ts';

interface ListFlags extends ConnectionFlags {
  readonly all?: boolean;
}

interface ShowFlags extends ConnectionFlags {
  readonly signingInput?: boolean;
  readonly attachment?: string;
}

interface ApproveFlags extends ConnectionFlags, SignatureFlags {
  readonly approver?: string;
  readonly attachment?: string;
  readonly yes?: boolean;
}

const MAX_ATTACHMENT_BYTES = 1024 * 1024;
const WATCH_MS = 30_000;
const ASK_AGAIN_MS = 1000;

export function addApprovals(program: Command, context: CliContext): void {
  const approvals = program
    .command('approvals')
    .summary('see and approve exactly one act')
    .description('What people are asked to agree to. For approvers.');
  addList(approvals, context);
  addShow(approvals, context);
  addApprove(approvals, context);
  addReject(approvals, context);
  addWatch(approvals, context);
  addWait(approvals, context);
  addWithdraw(approvals, context);
  addAcceptState(approvals, context);
}

function addList(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('list')
    .description('What waits for you.')
    .option('--all', 'also what was approved and used, rejected, withdrawn or has expired')
    .addHelpText('after', '\nExample:\n  lastmile approvals list --as alice\n')
    .action(async (flags: ListFlags) => {
      const { approvals: all } = await asApprover(context, flags, (client) =>
        client.call('List', { all: flags.all === true, limit: 0 }),
      );
      await write(context.stdout, flags.json === true ? json(all) : approvalTable(all));
    });
  withConnection(command, context);
}

function approvalTable(all: readonly Approval__Output[]): string {
  if (all.length === 0) return 'nothing waits for approval\n';
  return table(
    ['ID', 'STATE', 'APPROVALS', 'UNTIL', 'FOR', 'KEY', 'REQUESTER'],
    all.map((approval) => {
      const act = actIn(approval);
      const urgent = approval.emergency ? ' EMERGENCY' : '';
      return [
        approval.id,
        `${approval.state}${urgent}`,
        `${approval.approvals} of ${approval.approvalsNeeded}`,
        act.notAfter,
        act.operation,
        act.key,
        act.requester,
      ];
    }),
  );
}

function addShow(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('show')
    .description('The act as it would be signed, for a person to read; and who has approved it.')
    .argument('<id>', 'of the approval')
    .option('--signing-input', 'print the document itself, byte for byte: what SSHSIG and JWS sign')
    .option('--attachment <file>', 'write content that is too long for the act there (- for standard output)')
    .addHelpText(
      'after',
      `
Example:
  lastmile approvals show 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --as alice
  lastmile approvals show 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --signing-input > act.json
`,
    )
    .action(async (id: string, flags: ShowFlags) => {
      if (flags.attachment !== undefined) {
        const content = await attached(context, flags, id);
        await writeOutput(context, flags.attachment, [content], 0o600);
        return;
      }
      const approval = await get(context, flags, id);
      if (flags.signingInput === true) await write(context.stdout, approval.act);
      else await write(context.stdout, flags.json === true ? json(approval) : approvalText(approval));
    });
  withConnection(command, context);
}

function approvalText(approval: Approval__Output): string {
  const votes = approval.votes.map(
    ({ approver, method, leafIndex, counts }) =>
      `${printable(approver)} (${printable(method)}, entry ${leafIndex}${counts ? '' : ', counts no more'})`,
  );
  const rest = fields([
    ['state', approval.state],
    ['why', approval.reason],
    ['by', approval.closedBy],
    ['approvals', `${approval.approvals} of ${approval.approvalsNeeded}`],
    ['given by', votes.join('; ')],
    ['groups', approval.groups.join(', ')],
    ['methods', approval.methods.join(', ')],
    ['emergency', approval.emergency ? 'yes' : ''],
  ]);
  return `${renderAct(actIn(approval))}\n${rest}`;
}

function addApprove(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('approve')
    .description('Shows the act, asks, and signs the very document that was shown with a key of yours.')
    .argument('<id>', 'of the approval')
    .option('--ssh-key <file>', 'sign with ssh-keygen: a private key, or the public half of one in an agent')
    .option('--jws-key <file>', 'sign with a private key in a file: JWK, or PKCS#8 in PEM')
    .option('--signature <file>', 'hand in what was signed elsewhere: an SSH signature or a compact JWS')
    .option('--approver <name>', "whose signature it is, when it is another's")
    .option('--attachment <file>', 'the content that you have read, where the act has only its digest')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      `
Example:
  lastmile approvals approve 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --as alice --ssh-key ~/.ssh/id_ed25519_sk
  lastmile approvals approve 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --as bob --signature act.json.sig
`,
    )
    .action(async (id: string, flags: ApproveFlags) => {
      const approval = await get(context, flags, id);
      const act = actIn(approval);
      await requireRead(context, act, flags.attachment);
      if (flags.signature === undefined) {
        await write(context.stderr, renderAct(act));
        await confirm(context, flags);
      }
      const signature = await approverSignature(context, flags, approval.act);
      const done = await asApprover(context, flags, (client) =>
        client.call('Approve', { id, approver: flags.approver ?? '', ...signature }),
      );
      const now = done.approval!;
      const text = `approved: ${now.approvals} of ${now.approvalsNeeded} approvals are there; the approval is ${now.state}\n`;
      await write(context.stdout, flags.json === true ? json(now) : text);
    });
  withConnection(command, context);
}

async function confirm(context: CliContext, flags: ApproveFlags): Promise<void> {
  if (flags.yes === true) return;
  if (context.stdin.isTTY !== true)
    throw new CliError(EXIT.usage, 'nobody is there to be asked', { advice: 'read the act, then add --yes' });
  const terminal = createInterface({ input: context.stdin, output: context.stderr });
  try {
    const answer = await terminal.question('Approve exactly this? Write yes: ');
    if (answer.trim() !== 'yes') throw new CliError(EXIT.failed, 'not approved');
  } finally {
    terminal.close();
  }
}

/** Content above 16 KiB is signed by its digest: it has to be in front of whoever signs. */
async function requireRead(context: CliContext, { content }: Act, file: string | undefined): Promise<void> {
  if (content.kind !== 'attached') return;
  if (file === undefined) {
    throw new CliError(
      EXIT.usage,
      'the content lies beside the act, and has to be read before it is approved',
      {
        advice:
          'fetch it with `lastmile approvals show <id> --attachment <file>`, read it, then name it with --attachment',
      },
    );
  }
  const bytes = await readWhole(context, file, MAX_ATTACHMENT_BYTES);
  if (createHash('sha256').update(bytes).digest('base64url') !== content.sha256)
    throw new CliError(EXIT.unverified, `\`${file}\` is not the content of this act: its digest is another`);
}

function addReject(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('reject')
    .description('Ends a request for good. Nobody else can approve it any more.')
    .argument('<id>', 'of the approval')
    .requiredOption('--reason <text>', 'goes into the log, and to who asked')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile approvals reject 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --as alice --reason "not our account"\n',
    )
    .action(async (id: string, flags: ConnectionFlags & { readonly reason: string }) => {
      const { approval } = await asApprover(context, flags, (client) =>
        client.call('Reject', { id, reason: flags.reason }),
      );
      await write(context.stdout, flags.json === true ? json(approval) : `rejected\n`);
    });
  withConnection(command, context);
}

function addWatch(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('watch')
    .description('What waits for you, and then every change, until it is stopped.')
    .option('--count <n>', 'stop after so many lines', positiveInteger)
    .addHelpText('after', '\nExample:\n  lastmile approvals watch --as alice\n')
    .action(async (flags: ConnectionFlags & { readonly count?: number }) => {
      await asApprover(context, flags, async (client) => {
        let left = flags.count ?? Number.POSITIVE_INFINITY;
        const tell = async (all: readonly Approval__Output[]): Promise<void> => {
          for (const approval of all.slice(0, left)) {
            left--;
            await write(
              context.stdout,
              flags.json === true ? `${JSON.stringify(approval)}\n` : line(approval),
            );
          }
        };
        const list = await client.call('List', { all: false, limit: 0 });
        await tell(list.approvals.toReversed());
        let { cursor } = list;
        while (left > 0) {
          const changes = await client.call('Watch', { cursor }, { deadlineMs: WATCH_MS });
          cursor = changes.cursor;
          await tell(changes.approvals);
        }
      });
    });
  withConnection(command, context);
}

function line(approval: Approval__Output): string {
  const { operation, key, requester } = actIn(approval);
  const what = [operation, key, requester].filter((part) => part !== '').map((part) => printable(part));
  return `${approval.id} ${approval.state} ${approval.approvals}/${approval.approvalsNeeded} ${what.join(' ')}\n`;
}

function addWait(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('wait')
    .description('Ends when it is approved (0) or cannot be any more (1). For who asked, and for approvers.')
    .argument('<id>', 'of the approval')
    .option('--for <duration>', 'give up after so long', seconds)
    .addHelpText(
      'after',
      '\nExample:\n  lastmile approvals wait 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --as settle --for 15m\n',
    )
    .action(async (id: string, flags: ConnectionFlags & { readonly for?: number }) => {
      await asApprover(context, flags, async (client) => {
        const until = performance.now() + (flags.for ?? Number.POSITIVE_INFINITY) * 1000;
        for (;;) {
          const { approval } = await client.call('Get', { id });
          const { state, reason } = checked(id, approval);
          if (state === 'approved' || state === 'used') {
            await write(context.stdout, flags.json === true ? json(approval) : `${state}\n`);
            return;
          }
          if (state !== 'open')
            throw new CliError(EXIT.failed, `it is ${state}${reason === '' ? '' : `: ${printable(reason)}`}`);
          if (performance.now() >= until) throw new CliError(EXIT.unreachable, 'not yet approved');
          await sleep(ASK_AGAIN_MS);
        }
      });
    });
  withConnection(command, context);
}

function addWithdraw(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('withdraw')
    .description('Ends a request of yours.')
    .argument('<id>', 'of the approval')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile approvals withdraw 1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1 --as settle\n',
    )
    .action(async (id: string, flags: ConnectionFlags) => {
      const { approval } = await asApprover(context, flags, (client) => client.call('Withdraw', { id }));
      await write(context.stdout, flags.json === true ? json(approval) : 'withdrawn\n');
    });
  withConnection(command, context);
}

function addAcceptState(approvals: Command, context: CliContext): void {
  const command = approvals
    .command('accept-state')
    .description(
      'After state and log disagreed, and you know why: everything that is open is void, and approvals go on. For operators.',
    )
    .requiredOption('--reason <text>', 'goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile approvals accept-state --reason "state restored from a backup after a disk failure, INC-12"\n',
    )
    .action(async (flags: ConnectionFlags & { readonly reason: string }) => {
      const done = await asApprover(context, flags, (client) =>
        client.call('AcceptState', { reason: flags.reason }),
      );
      const text = `approvals go on; ${done.voided} that were open are void and have to be asked for again\n`;
      await write(context.stdout, flags.json === true ? json(done) : text);
    });
  withConnection(command, context);
}

async function get(context: CliContext, flags: ConnectionFlags, id: string): Promise<Approval__Output> {
  const { approval } = await asApprover(context, flags, (client) => client.call('Get', { id }));
  return checked(id, approval);
}

/** What is shown and signed is what the id says, whoever sent it. @throws CliError */
function checked(id: string, approval: Approval__Output | null): Approval__Output {
  if (approval === null) throw new CliError(EXIT.failed, 'the broker sent no approval');
  if (approvalId(approval.act) !== id)
    throw new CliError(EXIT.unverified, 'the broker sent another act than the one of this id');
  return approval;
}

async function attached(context: CliContext, flags: ConnectionFlags, id: string): Promise<Uint8Array> {
  const { content: expected } = actIn(await get(context, flags, id));
  if (expected.kind !== 'attached')
    throw new CliError(EXIT.usage, 'nothing is attached: the act shows its content');
  const { content } = await asApprover(context, flags, (client) => client.call('GetAttachment', { id }));
  if (createHash('sha256').update(content).digest('base64url') !== expected.sha256)
    throw new CliError(EXIT.unverified, 'the broker sent other content than the act has the digest of');
  return content;
}

/** @throws CliError: what cannot be shown whole is not to be signed */
function actIn(approval: Approval__Output): Act {
  try {
    return parseAct(approval.act);
  } catch (error) {
    if (!(error instanceof ActError)) throw error;
    throw new CliError(EXIT.unverified, `the act ${error.message}: use a newer version of this command`, {
      cause: error,
    });
  }
}
