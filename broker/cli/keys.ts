import { type Command, Option } from 'commander';
import type { ImportKeyRequest } from '../proto/gen/lastmile/v1/ImportKeyRequest.ts';
import type { KeyVersion__Output } from '../proto/gen/lastmile/v1/KeyVersion.ts';
import { collect, positiveInteger } from './arguments.ts';
import { asOperator, asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';
import { fields, json, table, write } from './output.ts';

interface CreateFlags extends ConnectionFlags {
  readonly purpose: string;
  readonly algorithm: readonly string[];
  readonly token: readonly string[];
  readonly modulusBits?: number;
  readonly verify?: string;
  readonly rawSigning?: boolean;
}

interface ImportFlags extends ConnectionFlags {
  readonly purpose: string;
  readonly algorithm: readonly string[];
  readonly token: string;
  readonly ckaId?: string;
  readonly label?: string;
  readonly wrapped?: string;
  readonly unwrappingKey?: string;
  readonly mechanism?: string;
  readonly publicKey?: string;
  readonly verify?: string;
  readonly rawSigning?: boolean;
}

const MAX_WRAPPED_BYTES = 64 * 1024;

export function addKeys(program: Command, context: CliContext): void {
  const keys = program
    .command('keys')
    .summary('list, show, create and import keys')
    .description('Keys on tokens.');
  addList(keys, context);
  addUsable(keys, context);
  addShow(keys, context);
  addCreate(keys, context);
  addImport(keys, context);
}

function addList(keys: Command, context: CliContext): void {
  const command = keys
    .command('list')
    .description('All keys and their versions. For operators.')
    .addHelpText('after', '\nExample:\n  lastmile keys list\n')
    .action(async (flags: ConnectionFlags) => {
      const { keys: versions } = await asOperator(context, flags, (client) =>
        client.admin('ListKeyVersions', {}),
      );
      await write(context.stdout, flags.json === true ? json(versions) : keyTable(versions));
    });
  withConnection(command, context);
}

function addUsable(keys: Command, context: CliContext): void {
  const command = keys
    .command('usable')
    .description('The keys that a workload may use, and what for. For workloads.')
    .addHelpText('after', '\nExample:\n  lastmile keys usable --as payments\n')
    .action(async (flags: ConnectionFlags) => {
      const usable = await asWorkload(context, flags, (client) => client.listKeys());
      const rows = usable.map((k) => [
        k.key,
        k.activeVersion,
        k.purpose,
        k.algorithms.join(','),
        k.operations.join(','),
      ]);
      const text = table(['KEY', 'VERSION', 'PURPOSE', 'ALGORITHMS', 'OPERATIONS'], rows);
      await write(context.stdout, flags.json === true ? json(usable) : text);
    });
  withConnection(command, context);
}

function addShow(keys: Command, context: CliContext): void {
  const command = keys
    .command('show')
    .description('One key with all its versions. For operators.')
    .argument('<key>', 'key name')
    .addHelpText('after', '\nExample:\n  lastmile keys show payments/jwt\n')
    .action(async (key: string, flags: ConnectionFlags) => {
      const { versions } = await asOperator(context, flags, (client) => client.admin('GetKey', { key }));
      await write(context.stdout, flags.json === true ? json(versions) : versions.map(keyText).join('\n'));
    });
  withConnection(command, context);
}

function purposeOption(): Option {
  return new Option('--purpose <name>', 'what it is for, and nothing else')
    .choices(['sign', 'encrypt', 'mac'])
    .makeOptionMandatory();
}

function verifyOption(): Option {
  return new Option(
    '--verify <mode>',
    'of every result, in the broker; less than always only for ECDSA and symmetric keys',
  ).choices(['always', 'sampled', 'never']);
}

function rawSigningOption(): Option {
  return new Option(
    '--raw-signing',
    'sign bare messages and digests too, although a rule of typed signing names the key',
  );
}

function addCreate(keys: Command, context: CliContext): void {
  const command = keys
    .command('create')
    .description('Makes a key on tokens. It cannot leave them. For operators.')
    .argument('<key>', 'key name, such as payments/jwt')
    .addOption(purposeOption())
    .requiredOption('--algorithm <name>', 'JOSE name; RSA keys may have several', collect, [])
    .option('--token <name>', 'where; repeat for several; default all that can', collect, [])
    .option('--modulus-bits <n>', 'RSA: 2048 (default), 3072 or 4096', positiveInteger)
    .addOption(verifyOption())
    .addOption(rawSigningOption())
    .addHelpText(
      'after',
      '\nExample:\n  lastmile keys create orders/receipts --purpose sign --algorithm ES256\n',
    )
    .action(async (key: string, flags: CreateFlags) => {
      const { versions, log } = await asOperator(context, flags, (client) =>
        client.admin('CreateKey', {
          key,
          purpose: flags.purpose,
          algorithms: [...flags.algorithm],
          tokens: [...flags.token],
          modulusBits: flags.modulusBits ?? 0,
          verify: flags.verify ?? '',
          rawSigning: flags.rawSigning === true,
        }),
      );
      await write(
        context.stdout,
        flags.json === true ? json({ versions, log }) : versions.map(keyText).join('\n'),
      );
    });
  withConnection(command, context);
}

function addImport(keys: Command, context: CliContext): void {
  const command = keys
    .command('import')
    .description(
      'Binds an object that is on a token already, or unwraps a blob that was wrapped to the token. No key in the clear passes through. For operators.',
    )
    .argument('<key>', 'key name to give it')
    .addOption(purposeOption())
    .requiredOption('--algorithm <name>', 'JOSE name; RSA keys may have several', collect, [])
    .requiredOption('--token <name>', 'which token')
    .option('--cka-id <hex>', 'the object, by CKA_ID')
    .option('--label <label>', 'the object, by CKA_LABEL')
    .option('--wrapped <file>', 'the blob')
    .option('--unwrapping-key <hex>', 'CKA_ID of the key that opens the blob')
    .addOption(
      new Option('--mechanism <name>', 'how the blob is wrapped').choices([
        'rsa-oaep-sha1',
        'rsa-oaep-sha256',
        'aes-kw',
        'aes-kwp',
      ]),
    )
    .option('--public-key <file>', 'PEM, of a wrapped private key: what the import is proven against')
    .addOption(verifyOption())
    .addOption(rawSigningOption())
    .addHelpText(
      'after',
      '\nExamples:\n  lastmile keys import legacy/sign --purpose sign --algorithm RS256 --token a --label old-signing-key\n  lastmile keys import moved/sign --purpose sign --algorithm ES256 --token a --wrapped key.bin --unwrapping-key 01a0 --mechanism aes-kwp --public-key key.pem\n',
    )
    .action(async (key: string, flags: ImportFlags) => {
      const source = await importSource(context, flags);
      const { version, log } = await asOperator(context, flags, (client) =>
        client.admin('ImportKey', {
          key,
          purpose: flags.purpose,
          algorithms: [...flags.algorithm],
          token: flags.token,
          verify: flags.verify ?? '',
          rawSigning: flags.rawSigning === true,
          ...source,
        }),
      );
      await write(context.stdout, flags.json === true ? json({ version, log }) : keyText(version));
    });
  withConnection(command, context);
}

async function importSource(
  context: CliContext,
  flags: ImportFlags,
): Promise<Pick<ImportKeyRequest, 'ckaId' | 'label' | 'wrapped'>> {
  const { ckaId, label, wrapped, unwrappingKey, mechanism } = flags;
  if ([ckaId, label, wrapped].filter((source) => source !== undefined).length !== 1) {
    throw new CliError(EXIT.usage, 'give exactly one of --cka-id, --label and --wrapped');
  }
  if (ckaId !== undefined) return { ckaId };
  if (label !== undefined) return { label };
  if (unwrappingKey === undefined || mechanism === undefined) {
    throw new CliError(EXIT.usage, '--wrapped needs --unwrapping-key and --mechanism');
  }
  const publicKeyPem =
    flags.publicKey === undefined
      ? ''
      : (await readWhole(context, flags.publicKey, MAX_WRAPPED_BYTES)).toString('utf8');
  const blob = await readWhole(context, wrapped!, MAX_WRAPPED_BYTES);
  return { wrapped: { blob, unwrappingKey, mechanism, publicKeyPem } };
}

function keyTable(versions: readonly KeyVersion__Output[]): string {
  return table(
    ['KEY', 'VERSION', 'PURPOSE', 'ALGORITHMS', 'STATE', 'TOKENS', 'PROVEN ON', 'PROVENANCE'],
    versions.map((v) => [
      v.key,
      v.version,
      v.purpose,
      v.algorithms.join(','),
      v.state,
      v.tokens.join(','),
      v.provenOn.join(',') || '-',
      v.provenance,
    ]),
  );
}

function keyText(v: KeyVersion__Output | null | undefined): string {
  if (!v) return '';
  const text = fields([
    ['key', v.key],
    ['version', v.version],
    ['purpose', v.purpose],
    ['algorithms', v.algorithms.join(', ')],
    ['state', v.state],
    ['created', v.createdAt],
    ['provenance', v.provenance],
    ['tokens', v.tokens.join(', ')],
    ['proven on', v.provenOn.join(', ') || 'none: it cannot be used now'],
    ['verify', v.verify],
    ['kid', v.kid],
    ['encryptions', v.encryptionsReserved === 0 ? '' : `${v.encryptionsReserved} of 4294967296 reserved`],
    ['decrypt only', v.decryptOnly ? 'yes' : ''],
    ['raw signing', v.rawSigning ? 'yes, whatever rules of typed signing say' : ''],
  ]);
  // PEM is lines of base64; anything else in it would not be.
  return v.publicKeyPem === '' ? text : `${text}${v.publicKeyPem.replace(/[^\n -~]/g, '?').trimEnd()}\n`;
}
