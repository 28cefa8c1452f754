import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CertificateApplicant } from '../client/client.ts';
import { collect, pinned, positiveInteger, seconds } from './arguments.ts';
import { type AskingFlags, asked, withAsking } from './asking.ts';
import { asWorkload, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole, writeOutput } from './files.ts';
import { json, write } from './output.ts';

interface Attribute {
  readonly type: string;
  readonly value: string;
}

interface Flags extends ConnectionFlags, AskingFlags {
  readonly profile: string;
  readonly lifetime?: number;
  readonly publicKey?: string;
  readonly self?: boolean;
  readonly subject: readonly Attribute[];
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  readonly email: readonly string[];
  readonly ip: readonly string[];
  readonly algorithm?: string;
  readonly keyVersion?: number;
  readonly out?: string;
}

const MAX_INPUT_BYTES = 32 * 1024;

export function addSignCertificate(program: Command, context: CliContext): void {
  const command = program
    .command('sign-certificate')
    .summary('sign an X.509 certificate')
    .description(
      'Signs a certificate for a CSR (PKCS#10, PEM or DER), within a profile of the policy. Some profiles take a bare --public-key with names, or certify the signing key itself with --self.',
    )
    .argument('<key>', 'key name of the issuer, such as ca/workloads')
    .argument('[csr]', 'the CSR')
    .requiredOption('--profile <id>', "of the policy's `certificateProfiles`")
    .option('--lifetime <duration>', "such as 24h; default the profile's", seconds)
    .option('--public-key <file>', 'instead of a CSR: SubjectPublicKeyInfo, PEM or DER')
    .option('--self', 'instead of a CSR: the key that signs, for a self-signed certificate')
    .option('--subject <type=value>', 'with a bare key, such as CN=api; may be repeated', attribute, [])
    .addOption(names('--dns <name>'))
    .addOption(names('--uri <uri>'))
    .addOption(names('--email <address>'))
    .addOption(names('--ip <address>'))
    .option('--algorithm <name>', 'JOSE name; needed where the key has several')
    .option('--key-version <n>', 'pin a version', positiveInteger)
    .option('--out <file>', 'where the certificate goes, PEM; default standard output')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile sign-certificate ca/workloads api.csr --profile web-server --as ca --out api.pem\n',
    )
    .action(async (key: string, csr: string | undefined, flags: Flags) => {
      const applicant = await applicantOf(context, csr, flags);
      const input = {
        key,
        ...pinned(flags.keyVersion),
        ...(flags.algorithm === undefined ? {} : { algorithm: flags.algorithm }),
        ...(flags.lifetime === undefined ? {} : { lifetimeSeconds: flags.lifetime }),
        profile: flags.profile,
        ...applicant,
      };
      const signed = await asWorkload(context, flags, (client) =>
        asked(context, flags, (options) => client.signCertificate(input, options)),
      );
      if (flags.out !== undefined || flags.json !== true) {
        await writeOutput(context, flags.out, [Buffer.from(signed.pem)]);
      }
      if (flags.json === true) await write(context.stdout, json({ key, ...signed }));
    });
  withConnection(withAsking(command), context);
}

async function applicantOf(
  context: CliContext,
  csr: string | undefined,
  flags: Flags,
): Promise<CertificateApplicant> {
  const given = [csr !== undefined, flags.publicKey !== undefined, flags.self === true].filter(Boolean);
  if (given.length !== 1) {
    throw new CliError(EXIT.usage, 'give one of: a CSR, --public-key FILE, --self');
  }
  const { subject, dns, uri, email, ip } = flags;
  if (csr !== undefined) {
    if ([subject, dns, uri, email, ip].some((list) => list.length > 0)) {
      throw new CliError(EXIT.usage, 'a CSR says itself which names it is for', {
        advice: 'make the CSR with them, as `openssl req -addext subjectAltName=…` does',
      });
    }
    return { csr: pemOrDer(await readWhole(context, csr, MAX_INPUT_BYTES)) };
  }
  return {
    publicKey:
      flags.publicKey === undefined
        ? 'self'
        : pemOrDer(await readWhole(context, flags.publicKey, MAX_INPUT_BYTES)),
    subject,
    dnsNames: dns,
    uris: uri,
    emailAddresses: email,
    ipAddresses: ip,
  };
}

/** DER of both begins with the tag of a SEQUENCE, which no PEM does. */
function pemOrDer(content: Buffer): Uint8Array | string {
  return content[0] === 0x30 ? content : content.toString('latin1');
}

function names(flags: string): Option {
  return new Option(flags, 'with a bare key: a name; may be repeated').argParser(collect).default([], 'none');
}

function attribute(text: string, previous: readonly Attribute[]): Attribute[] {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write it as CN=value.');
  return [...previous, { type: text.slice(0, at), value: text.slice(at + 1) }];
}
