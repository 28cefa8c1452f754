import { spawn } from 'node:child_process';
import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { resolve } from 'node:path';
import { JWS_TYPE, SSHSIG_NAMESPACE } from '../approvals/act.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';

/** As ApproveRequest takes it. */
export type MadeSignature = { readonly sshsig: string } | { readonly jws: string };

export interface SignatureFlags {
  readonly sshKey?: string;
  readonly jwsKey?: string;
  readonly signature?: string;
}

const MAX_KEY_BYTES = 16 * 1024;
const MAX_SIGNATURE_BYTES = 48 * 1024;

/** Signs the document here, or takes what was signed elsewhere. @throws CliError */
export async function approverSignature(
  context: CliContext,
  flags: SignatureFlags,
  document: string,
): Promise<MadeSignature> {
  const { sshKey, jwsKey, signature } = flags;
  const ways = [sshKey, jwsKey, signature].filter((way) => way !== undefined);
  if (ways.length !== 1) throw new CliError(EXIT.usage, 'give one of --ssh-key, --jws-key and --signature');
  if (sshKey !== undefined) return { sshsig: await sshSign(context, sshKey, document) };
  if (jwsKey !== undefined) return { jws: jwsSign(await privateKey(context, jwsKey), document) };
  const made = (await readWhole(context, signature!, MAX_SIGNATURE_BYTES)).toString('utf8').trim();
  if (made.startsWith('-----BEGIN SSH SIGNATURE-----')) return { sshsig: `${made}\n` };
  if (/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+$/.test(made)) return { jws: made };
  throw new CliError(EXIT.usage, `\`${signature}\` is neither an SSH signature nor a compact JWS`);
}

/** With ssh-keygen: keys of an agent (by their public half), on disk, or on a FIDO authenticator that wants a touch. */
function sshSign(context: CliContext, key: string, document: string): Promise<string> {
  return new Promise((resolvePromise, reject) => {
    const child = spawn(
      'ssh-keygen',
      ['-Y', 'sign', '-n', SSHSIG_NAMESPACE, '-f', resolve(context.cwd, key)],
      { cwd: context.cwd, env: { ...context.env }, stdio: ['pipe', 'pipe', 'pipe'] },
    );
    const output: Buffer[] = [];
    const complaints: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      complaints.push(chunk);
      // What an authenticator asks for is for the person in front of it.
      if (/touch|confirm|PIN/i.test(chunk.toString())) context.stderr.write(chunk);
    });
    child.on('error', (cause) =>
      reject(
        new CliError(EXIT.usage, `ssh-keygen cannot be run: ${(cause as NodeJS.ErrnoException).code}`, {
          cause,
        }),
      ),
    );
    child.on('close', (code) => {
      if (code === 0) resolvePromise(Buffer.concat(output).toString('utf8'));
      else
        reject(
          new CliError(
            EXIT.usage,
            `ssh-keygen does not sign with \`${key}\`: ${Buffer.concat(complaints).toString('utf8').trim()}`,
          ),
        );
    });
    // It may end before it has read everything; then its exit code says why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(document);
  });
}

async function privateKey(context: CliContext, file: string): Promise<KeyObject> {
  const text = (await readWhole(context, file, MAX_KEY_BYTES)).toString('utf8');
  try {
    return text.trimStart().startsWith('{')
      ? createPrivateKey({ key: JSON.parse(text) as never, format: 'jwk' })
      : createPrivateKey(text);
  } catch (cause) {
    throw new CliError(
      EXIT.usage,
      `\`${file}\` is no private key: JWK, or PKCS#8 in PEM without a passphrase`,
      { cause },
    );
  }
}

/** Compact, detached and unencoded (RFC 7797): the act itself is signed. */
function jwsSign(key: KeyObject, document: string): string {
  const algorithm = algorithmOf(key);
  const header = Buffer.from(
    JSON.stringify({ alg: algorithm.name, typ: JWS_TYPE, b64: false, crit: ['b64'] }),
  ).toString('base64url');
  const signature = sign(algorithm.hash, Buffer.from(`${header}.${document}`), {
    key,
    dsaEncoding: 'ieee-p1363',
  });
  return `${header}..${signature.toString('base64url')}`;
}

function algorithmOf(key: KeyObject): { readonly name: string; readonly hash: string | null } {
  if (key.asymmetricKeyType === 'ed25519') return { name: 'EdDSA', hash: null };
  if (key.asymmetricKeyType === 'rsa') return { name: 'RS256', hash: 'sha256' };
  switch (key.asymmetricKeyDetails?.namedCurve) {
    case 'prime256v1':
      return { name: 'ES256', hash: 'sha256' };
    case 'secp384r1':
      return { name: 'ES384', hash: 'sha384' };
    case 'secp521r1':
      return { name: 'ES512', hash: 'sha512' };
    default:
      throw new CliError(EXIT.usage, 'approvals take Ed25519, P-256, P-384, P-521 and RSA keys');
  }
}
