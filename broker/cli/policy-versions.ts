import type { Command } from 'commander';
import { positiveInteger } from './arguments.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole, writeOutput } from './files.ts';
import { fields, json, printable, write } from './output.ts';

/** Less than a message of the protocol. A larger policy is proposed from the file of the broker. */
const MAX_PROPOSAL_BYTES = 1_000_000;

interface HistoryFlags extends ConnectionFlags {
  readonly limit: number;
}

interface ShowFlags extends ConnectionFlags {
  readonly hash?: string;
  readonly out?: string;
}

interface ProposeFlags extends ConnectionFlags {
  readonly reason: string;
}

interface ActivateFlags extends ConnectionFlags {
  readonly hash: string;
  readonly reason: string;
}

/** `policy history`, `show`, `propose` and `activate`: what was in force, and how another one comes into force. */
export function addPolicyVersions(policy: Command, context: CliContext): void {
  addHistory(policy, context);
  addShow(policy, context);
  addPropose(policy, context);
  addActivate(policy, context);
}

function addHistory(policy: Command, context: CliContext): void {
  const command = policy
    .command('history')
    .description(
      'Every time that a policy came into force, newest first, as the log tells it. For operators.',
    )
    .option('--limit <n>', '1 to 1000', positiveInteger, 50)
    .addHelpText('after', '\nExample:\n  lastmile policy history\n')
    .action(async (flags: HistoryFlags) => {
      const { activations, policyHash } = await asOperator(context, flags, (client) =>
        client.admin('ListPolicies', { limit: flags.limit }),
      );
      if (flags.json === true) {
        await write(context.stdout, json({ policyHash, activations }));
        return;
      }
      for (const activation of activations) {
        const text = fields([
          ['policy', activation.policyHash],
          ['since', activation.at],
          ['by', activation.by === '' ? 'the policy file' : activation.by],
          ['rules', activation.rules],
          ['log entry', activation.leafIndex],
          ['kept', activation.isKept ? '' : 'no: its text cannot be shown any more'],
        ]);
        const lines = activation.differences.map((line) => `  ${printable(line)}\n`).join('');
        await write(context.stdout, `${text}${lines}\n`);
      }
    });
  withConnection(command, context);
}

function addShow(policy: Command, context: CliContext): void {
  const command = policy
    .command('show')
    .description('The text of the policy in force, or of one that was, byte for byte. For operators.')
    .option('--hash <sha256:hex>', 'as `policy history` and entries of the log have it')
    .option('--out <file>', 'where it goes; default standard output')
    .addHelpText('after', '\nExample:\n  lastmile policy show --out policy.in-force.yaml\n')
    .action(async (flags: ShowFlags) => {
      const { policyHash, content, inForce } = await asOperator(context, flags, (client) =>
        client.admin('GetPolicy', { policyHash: flags.hash ?? '' }),
      );
      if (flags.json === true)
        await write(context.stdout, json({ policyHash, inForce, content: content.toString('utf8') }));
      if (flags.out !== undefined) await writeOutput(context, flags.out, [content]);
      else if (flags.json !== true)
        await write(context.stdout, printable(content.toString('utf8'), '\n\r\t'));
    });
  withConnection(command, context);
}

function addPropose(policy: Command, context: CliContext): void {
  const command = policy
    .command('propose')
    .argument('[file]', 'a policy file of at most 1 MB; without it, the one of the broker as it is now')
    .description(
      'Where the policy in force has `governance`: asks people to agree to another policy. For operators, who then activate it by its hash.',
    )
    .requiredOption('--reason <text>', 'why; it goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile policy propose policy.yaml --reason "CHG-7: settlements need two people"\n',
    )
    .action(async (file: string | undefined, flags: ProposeFlags) => {
      const content =
        file === undefined ? Buffer.alloc(0) : await readWhole(context, file, MAX_PROPOSAL_BYTES);
      if (file !== undefined && content.length === 0) throw new CliError(EXIT.usage, `\`${file}\` is empty`);
      const { policyHash, approval, approved, differences, log } = await asOperator(
        context,
        flags,
        (client) => client.admin('ProposePolicy', { content, reason: flags.reason }),
      );
      if (flags.json === true) {
        await write(context.stdout, json({ policyHash, approval, approved, differences, log }));
        return;
      }
      const text = fields([
        ['policy', policyHash],
        ['approval', approval],
        ['next', `${approved ? '' : 'when it is approved: '}lastmile policy activate --hash ${policyHash}`],
        ['log entry', log?.leafIndex],
      ]);
      const lines = differences.map((line) => `  ${printable(line)}\n`).join('');
      await write(context.stdout, `${text}${lines}`);
    });
  withConnection(command, context);
}

function addActivate(policy: Command, context: CliContext): void {
  const command = policy
    .command('activate')
    .description(
      'Puts a policy that was in force before, or was proposed and agreed to, into force, and writes it to the policy file of the broker. For operators.',
    )
    .requiredOption('--hash <sha256:hex>', 'as `policy history` or `policy propose` has it')
    .requiredOption('--reason <text>', 'why; it goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile policy activate --hash sha256:HEX --reason "INC-12: the new rules refuse settlements"\n',
    )
    .action(async (flags: ActivateFlags) => {
      const { policyHash, log } = await asOperator(context, flags, (client) =>
        client.admin('ActivatePolicy', { policyHash: flags.hash, reason: flags.reason }),
      );
      const text = fields([
        ['policy', policyHash],
        ['log entry', log?.leafIndex],
      ]);
      await write(context.stdout, flags.json === true ? json({ policyHash, log }) : text);
    });
  withConnection(command, context);
}
