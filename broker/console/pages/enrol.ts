/**
 * Makes a passkey and writes what the policy file needs of it. Runs in the browser and sends nothing: who may approve is
 * decided by whoever changes the policy, not by who visits this page.
 */
import { element, passkeyTrouble, sha256, toBase64Url, toHex } from './wire.ts';

/** What the broker verifies (COSE algorithms): ES256, EdDSA with Ed25519, RS256. */
const ALGORITHMS = [-7, -8, -257] as const;
/** Authenticator data (WebAuthn level 3, section 6.1): RP id hash, flags, counter, AAGUID. */
const CREDENTIAL_ID_LENGTH_AT = 32 + 1 + 4 + 16;
const FLAGS_AT = 32;
const HAS_CREDENTIAL = 0x40;

const message = element('message', HTMLElement);

interface Passkey {
  readonly credentialId: Uint8Array<ArrayBuffer>;
  /** COSE_Key. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

async function makePasskey(approver: string): Promise<Passkey> {
  let credential: Credential | null;
  try {
    credential = await navigator.credentials.create({
      publicKey: {
        rp: { id: location.hostname, name: `Lastmile approvals (${location.hostname})` },
        user: {
          id: crypto.getRandomValues(new Uint8Array(16)),
          name: approver,
          displayName: approver,
        },
        // Nobody checks a signature over it: an administrator vouches for the key, not this page.
        challenge: crypto.getRandomValues(new Uint8Array(32)),
        pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: 'public-key', alg })),
        authenticatorSelection: {
          residentKey: 'required',
          requireResidentKey: true,
          userVerification: 'required',
        },
        attestation: 'none',
      },
    });
  } catch (error) {
    throw new Error(passkeyTrouble(error), { cause: error });
  }
  if (!(credential instanceof PublicKeyCredential)) throw new Error('the browser made no passkey');
  const response = credential.response as AuthenticatorAttestationResponse;
  return readPasskey(new Uint8Array(response.getAuthenticatorData()));
}

function readPasskey(data: Uint8Array<ArrayBuffer>): Passkey {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if ((view.getUint8(FLAGS_AT) & HAS_CREDENTIAL) === 0) throw new Error('the authenticator gave no key');
  const idAt = CREDENTIAL_ID_LENGTH_AT + 2;
  const keyAt = idAt + view.getUint16(CREDENTIAL_ID_LENGTH_AT);
  return {
    credentialId: data.slice(idAt, keyAt),
    // Extensions of the authenticator may follow the key.
    publicKey: data.slice(keyAt, endOfCbor(view, keyAt)),
  };
}

/** Where the CBOR item (RFC 8949) at `at` ends. */
function endOfCbor(view: DataView, at: number): number {
  const first = view.getUint8(at);
  const type = first >> 5;
  const short = first & 0x1f;
  const extra = short < 24 ? 0 : 2 ** (short - 24);
  if (short > 26) throw new Error('the authenticator gave a key that cannot be read');
  let next = at + 1 + extra;
  const value =
    extra === 0
      ? short
      : extra === 1
        ? view.getUint8(at + 1)
        : extra === 2
          ? view.getUint16(at + 1)
          : view.getUint32(at + 1);
  if (type === 2 || type === 3) return next + value;
  const items = type === 4 ? value : type === 5 ? 2 * value : 0;
  for (let i = 0; i < items; i++) next = endOfCbor(view, next);
  return next;
}

async function enrol(): Promise<void> {
  const approver = element('approver', HTMLInputElement).value;
  const { credentialId, publicKey } = await makePasskey(approver);
  element('block', HTMLElement).textContent = [
    'approvers:',
    // In quotes: some of these letters would make a number of it.
    `  - id: "${approver}"`,
    '    keys:',
    '      - method: webauthn',
    `        credentialId: "${toBase64Url(credentialId)}"`,
    `        publicKey: "${toBase64Url(publicKey)}"`,
    '',
  ].join('\n');
  const digest = toHex(await sha256(publicKey));
  element('fingerprint', HTMLElement).textContent = `SHA-256 of publicKey: ${digest}`;
  const result = element('result', HTMLElement);
  result.hidden = false;
  result.querySelector('h2')?.focus();
}

element('enrol-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  message.textContent = '';
  enrol().catch((error: unknown) => {
    message.textContent = error instanceof Error ? error.message : String(error);
  });
});
element('copy', HTMLButtonElement).addEventListener('click', () => {
  const block = element('block', HTMLElement).textContent ?? '';
  navigator.clipboard.writeText(block).then(
    () => {
      message.textContent = 'Copied.';
    },
    () => {
      message.textContent = 'The browser does not let this page copy: select the block instead.';
    },
  );
});
